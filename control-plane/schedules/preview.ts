import type { SchedulePreview } from '../../protocol/http/schedule.ts';
import { recurrenceOf } from './recurrence.ts';
import { ruleOf, type ScheduleRow } from './repository.ts';

/** The next slots of a schedule after a time (milliseconds since 1970); of a paused one those after the pause, or as if it went on now. */
export function preview(schedule: ScheduleRow, now: number, count: number): SchedulePreview {
  const recurrence = recurrenceOf(ruleOf(schedule));
  const paused = schedule.pausedUntil === null ? 0 : Date.parse(schedule.pausedUntil) - 1;
  const last = schedule.lastDueAt === null ? 0 : Date.parse(schedule.lastDueAt);
  const format = localFormat(schedule.timezone);
  const items: { dueAt: string; local: string }[] = [];
  // The one time of a schedule may have passed and still be due.
  let time = schedule.runAt === null ? Math.max(now, paused, last) : Math.max(paused, last);
  while (items.length < count) {
    const next = recurrence.next(time);
    if (next === null) break;
    items.push({ dueAt: new Date(next).toISOString(), local: format(next) });
    time = next;
  }
  return { items, offsetMs: schedule.offsetMs };
}

/** Writes times as clocks in a time zone show them, with the offset: `2026-03-08T03:00:00-04:00`. */
function localFormat(timeZone: string): (time: number) => string {
  const format = new Intl.DateTimeFormat('en-GB', {
    timeZone,
    year: 'numeric',
    month: '2-digit',
    day: '2-digit',
    hour: '2-digit',
    minute: '2-digit',
    second: '2-digit',
    hourCycle: 'h23',
    timeZoneName: 'longOffset',
  });
  return (time) => {
    const parts = Object.fromEntries(format.formatToParts(time).map(({ type, value }) => [type, value]));
    const offset = (parts.timeZoneName ?? '').replace('GMT', '') || '+00:00';
    return `${parts.year}-${parts.month}-${parts.day}T${parts.hour}:${parts.minute}:${parts.second}${offset}`;
  };
}
