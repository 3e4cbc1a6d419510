import type { Static } from 'typebox';
import type { FirePage, FireView, SchedulePreview, ScheduleRun, ScheduleView } from '../../../protocol/http/schedule.ts';
import { formatDuration } from '../../../protocol/quantity.ts';
import { harmless } from '../../program/terminal-text.ts';
import { type Call, type Command, EVERYWHERE } from '../command.ts';
import { type Answer, type Column, shownTime, table, text } from '../screen/answer.ts';
import { recordLines } from '../screen/record-lines.ts';
import { untilOf } from './query.ts';

/** Slots to come and past that `show schedules NAME` tells. */
const NEXT = 5;
const LAST = 10;

const SCHEDULES: readonly Column<ScheduleView>[] = [
  { title: 'id', of: ({ id }) => id },
  { title: 'name', of: ({ name }) => name },
  { title: 'state', of: ({ state }) => state },
  { title: 'when', of: whenOf },
  { title: 'timezone', of: ({ timezone }) => timezone },
  { title: 'runs', of: ({ trigger, service, plugin }) => trigger ?? [service, plugin].filter((part) => part !== null).join(' ') },
  { title: 'resident', of: ({ resident }) => resident ?? '' },
  { title: 'next', of: ({ nextRunAt }) => shownTime(nextRunAt) },
  { title: 'last', of: ({ lastDueAt }) => shownTime(lastDueAt) },
  { title: 'outcome', of: ({ lastOutcome }) => lastOutcome ?? '' },
];

/** Commands about schedules, beside those that make and change them. */
export const SCHEDULE_COMMANDS: readonly Command[] = [
  { pattern: 'show schedules|schedule', doc: 'Schedules, and when they are due', modes: EVERYWHERE, run: showSchedules },
  {
    pattern: 'show schedules|schedule <schedule>',
    doc: 'Everything about a schedule, its next slots and what became of the last ones',
    modes: EVERYWHERE,
    run: showSchedule,
  },
  { pattern: 'request schedule|schedules <schedule> run', doc: 'Fire a schedule now, beside its slots', modes: EVERYWHERE, run: runNow },
  {
    pattern: 'request schedule|schedules <schedule> pause',
    doc: 'Let none of its slots be due, for good or until a time',
    options: { until: { value: 'time', doc: 'When it goes on: after a duration such as 2h, or at a time' } },
    modes: EVERYWHERE,
    run: pause,
  },
  { pattern: 'request schedule|schedules <schedule> resume', doc: 'End a pause', modes: EVERYWHERE, run: resume },
];

async function showSchedules(call: Call): Promise<Answer> {
  return table(SCHEDULES, await call.connection.list<ScheduleView>('/v1/schedules', call.signal));
}

async function showSchedule(call: Call): Promise<Answer> {
  const path = pathOf(call);
  const get = <T>(rest: string): Promise<T> => call.connection.call<T>({ method: 'GET', path: `${path}${rest}`, signal: call.signal });
  const schedule = await get<ScheduleView>('');
  const next = schedule.state === 'active' ? (await get<SchedulePreview>(`/preview?count=${NEXT}`)).items : [];
  const { items: fires } = await get<Static<typeof FirePage>>(`/fires?limit=${LAST}`);
  return text([...recordLines(schedule), ...next.map(({ dueAt, local }) => `due ${shownTime(dueAt)} (${local})`), ...fires.map(fireLine)], {
    ...schedule,
    next,
    fires,
  });
}

function fireLine({ dueAt, throughAt, outcome, source, latenessMs, invocationId, reason, worker }: FireView): string {
  const slots = throughAt === null ? shownTime(dueAt) : `${shownTime(dueAt)} to ${shownTime(throughAt)}`;
  const how = outcome === 'fired' || outcome === 'late' ? ` after ${formatDuration(latenessMs)}` : '';
  const by = [source === 'manual' ? 'by hand' : '', worker === null ? '' : `on ${worker}`].filter((part) => part !== '').join(', ');
  const why = reason === '' ? '' : `: ${harmless(reason)}`;
  return `${outcome} ${slots}${how}${by === '' ? '' : ` (${by})`}${why}${invocationId === null ? '' : `, ${invocationId}`}`;
}

async function runNow(call: Call): Promise<Answer> {
  const ran = await call.connection.call<Static<typeof ScheduleRun>>({ method: 'POST', path: `${pathOf(call)}/run` });
  return text([`It runs as ${ran.id}; to watch it, enter: monitor ${ran.id}`], ran);
}

async function pause(call: Call): Promise<Answer> {
  const until = call.options.until?.at(-1);
  const body = until === undefined ? {} : { until: untilOf(until) };
  const schedule = await call.connection.call<ScheduleView>({ method: 'POST', path: `${pathOf(call)}/pause`, body });
  const end = schedule.pausedUntil === null ? 'until it is resumed' : `until ${shownTime(schedule.pausedUntil)}`;
  return text([`${schedule.name} is paused ${end}`], schedule);
}

async function resume(call: Call): Promise<Answer> {
  const schedule = await call.connection.call<ScheduleView>({ method: 'POST', path: `${pathOf(call)}/resume` });
  return text([`${schedule.name} goes on`], schedule);
}

function pathOf(call: Call): string {
  return `/v1/schedules/${encodeURIComponent(call.values.schedule ?? '')}`;
}

function whenOf({ cron, everyMs, runAt }: ScheduleView): string {
  if (cron !== null) return cron;
  return everyMs === null ? shownTime(runAt) : `every ${formatDuration(everyMs)}`;
}
