import { Cron } from 'croner';
import type { ResidentSchedule } from '../../protocol/resident.ts';

/** When a schedule is due. Times are milliseconds since 1970. */
export interface Slots {
  /** The first slot after a time; null when there is none. */
  after(time: number): number | null;
  /** The newest slots up to a time, newest first, at most `count`. */
  upTo(time: number, count: number): readonly number[];
}

/** Slots of a definition. @throws Error when its rule cannot be read */
export function slotsOf(definition: Pick<ResidentSchedule, 'cron' | 'timezone' | 'everyMs' | 'anchor' | 'runAt'>): Slots {
  if (definition.cron !== null) return cronSlots(definition.cron, definition.timezone);
  if (definition.everyMs !== null) return periodSlots(definition.everyMs, definition.anchor);
  if (definition.runAt !== null) return singleSlot(definition.runAt);
  throw new Error('it has no rule');
}

/** croner decides what is due, like on the control-plane; around changes of the clock it differs from node-cron. */
function cronSlots(expression: string, timezone: string): Slots {
  const cron = new Cron(expression.trim(), { paused: true, timezone });
  return {
    after: (time) => cron.nextRun(new Date(time))?.getTime() ?? null,
    // Expressions have whole seconds, and the reference itself does not count.
    upTo: (time, count) => cron.previousRuns(count, new Date(Math.floor(time / 1000) * 1000 + 1000)).map((date) => date.getTime()),
  };
}

function periodSlots(period: number, anchor: number): Slots {
  return {
    after: (time) => anchor + Math.max(Math.floor((time - anchor) / period) + 1, 1) * period,
    upTo: (time, count) => {
      const newest = Math.floor((time - anchor) / period);
      return Array.from({ length: Math.max(Math.min(newest, count), 0) }, (_, i) => anchor + (newest - i) * period);
    },
  };
}

function singleSlot(at: number): Slots {
  return { after: (time) => (at > time ? at : null), upTo: (time) => (at <= time ? [at] : []) };
}
