import { type CatchUp, type FireOutcome, SCHEDULE_LIMITS } from '../../protocol/http/schedule.ts';
import type { Recurrence } from './recurrence.ts';

/** A slot that was due, or several that were missed. Times are milliseconds since 1970. */
export interface Slot {
  readonly dueAt: number;
  readonly outcome: FireOutcome;
  /** It stands for all slots up to this one; null: for itself. */
  readonly throughAt: number | null;
  /** Why it is not run; empty when it is. */
  readonly reason: string;
}

/** What a schedule does about the past. */
export interface CatchUpPolicy {
  readonly catchup: CatchUp;
  readonly windowMs: number;
}

/** What is later than this is `late`. */
const ON_TIME_MS = 1_000;
/** What was held up by less than this was not missed: control-planes restart and fail over within it. */
const GRACE_MS = 30_000;
/** So many missed slots get a row each; what is more, and older, shares one. */
const ROWS = 1_000;

/**
 * Decides about the slot that is due and those that became due after it. The newest runs unless it is so old that it counts as missed;
 * about missed ones the policy decides. Returns the slots, oldest first, and the next one that is not due yet (null: none).
 * `now` is the time less the schedule's own delay.
 */
export function settle(
  recurrence: Recurrence,
  due: number,
  now: number,
  policy: CatchUpPolicy,
): { readonly slots: readonly Slot[]; readonly next: number | null } {
  const { summary, times, next } = dueSlots(recurrence, due, now);
  const newest = times.length - 1;
  const slots = times.map((dueAt, index): Slot => {
    const late = now - dueAt;
    if (index === newest && late <= GRACE_MS) return run(dueAt, late <= ON_TIME_MS ? 'fired' : 'late');
    if (policy.catchup === 'skip') return missed(dueAt, null, 'nothing could fire it in time');
    if (policy.catchup === 'one' && index !== newest) return missed(dueAt, null, 'a later slot was due when it could fire again');
    if (late > policy.windowMs) return missed(dueAt, null, 'it is older than the window for catching up');
    if (newest - index >= SCHEDULE_LIMITS.catchup) return missed(dueAt, null, `only ${SCHEDULE_LIMITS.catchup} slots are caught up`);
    return run(dueAt, 'caught-up');
  });
  return { slots: summary === null ? slots : [summary, ...slots], next };
}

/** The slots from `due` to `now`; when they are too many, the newest and one row for all before. */
function dueSlots(recurrence: Recurrence, due: number, now: number): { summary: Slot | null; times: number[]; next: number | null } {
  const times = [due];
  for (let last = due; times.length < ROWS; ) {
    const next = recurrence.next(last);
    if (next === null || next > now) return { summary: null, times, next };
    times.push(next);
    last = next;
  }
  const newest = recurrence.previous(now, SCHEDULE_LIMITS.catchup + 1).filter((time) => time > due);
  const summary = missed(due, newest.at(-1) ?? null, 'nothing could fire them in time');
  return { summary, times: newest.slice(0, -1).reverse(), next: recurrence.next(now) };
}

function run(dueAt: number, outcome: FireOutcome): Slot {
  return { dueAt, outcome, throughAt: null, reason: '' };
}

function missed(dueAt: number, throughAt: number | null, reason: string): Slot {
  return { dueAt, outcome: 'missed', throughAt, reason };
}
