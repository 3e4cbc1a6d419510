import type { CatchUp, FireOutcome } from '../../protocol/http/schedule.ts';
import { SCHEDULE_LIMITS } from '../../protocol/http/schedule.ts';
import type { Slots } from './slots.ts';

/** A slot that is fired later than this is `late`. */
export const ON_TIME_MS = 1_000;
/** Up to this age the newest slot is fired whatever the schedule says about catching up. */
export const PATIENCE_MS = 60_000;
/** Slots that are looked at one by one; of more, the oldest are summed up. */
const MAX_SLOTS = 1_000;

/** What is done with one slot, or with all from `due` to `through`. */
export interface DueSlot {
  readonly due: number;
  readonly through: number | null;
  readonly fire: boolean;
  readonly outcome: FireOutcome;
  readonly reason: string;
}

/** How a schedule treats slots that have passed. Times are milliseconds. */
export interface CatchUpRule {
  readonly catchup: CatchUp;
  readonly catchupWindowMs: number;
  /** Each slot is fired this much after it is due. */
  readonly offsetMs: number;
}

/**
 * What is to be done at `now` about the slots after `last`, oldest first. Usually that is one slot, on time. After a pause
 * (restart, suspended machine, clock moved forward) the newest one is still fired within a minute;
 * for the others the schedule says what is caught up, and the rest is recorded as missed. A clock moved back gives nothing.
 */
export function dueSlots(slots: Slots, rule: CatchUpRule, last: number, now: number): DueSlot[] {
  const horizon = now - rule.offsetMs;
  const pending = pendingSlots(slots, last, horizon);
  const newest = pending.each.at(-1);
  if (newest === undefined) return [];
  const count = pending.each.length;
  const decided = pending.each.map((due, place) => decide(due, due === newest, rule, horizon - due, count - place));
  return pending.summed === null ? foldMissed(decided) : foldMissed([missed(pending.summed.first, pending.summed.last), ...decided]);
}

function pendingSlots(
  slots: Slots,
  last: number,
  horizon: number,
): { each: readonly number[]; summed: { first: number; last: number } | null } {
  const each: number[] = [];
  for (let slot = slots.after(last); slot !== null && slot <= horizon; slot = slots.after(slot)) {
    each.push(slot);
    if (each.length > MAX_SLOTS) break;
  }
  if (each.length <= MAX_SLOTS) return { each, summed: null };
  const newest = slots.upTo(horizon, SCHEDULE_LIMITS.catchup + 1).toReversed();
  // The oldest of them only marks where the summed ones end.
  return { each: newest.slice(1), summed: { first: each[0] as number, last: newest[0] as number } };
}

/** `rank`: 1 for the newest slot, 2 for the one before it, and so on. */
function decide(due: number, newest: boolean, rule: CatchUpRule, lateness: number, rank: number): DueSlot {
  const fire = (outcome: FireOutcome): DueSlot => ({ due, through: null, fire: true, outcome, reason: '' });
  if (newest && lateness <= ON_TIME_MS) return fire('fired');
  if (newest && lateness <= PATIENCE_MS) return fire('late');
  const wanted = rule.catchup === 'all' ? rank <= SCHEDULE_LIMITS.catchup : rule.catchup === 'one' && newest;
  return wanted && lateness <= rule.catchupWindowMs ? fire('caught-up') : missed(due, null);
}

function missed(due: number, through: number | null): DueSlot {
  return { due, through, fire: false, outcome: 'missed', reason: 'nothing could fire it in time' };
}

/** Missed slots that follow each other become one. */
function foldMissed(decided: readonly DueSlot[]): DueSlot[] {
  const folded: DueSlot[] = [];
  for (const slot of decided) {
    const before = folded.at(-1);
    if (slot.fire || before === undefined || before.fire) folded.push(slot);
    else folded[folded.length - 1] = { ...before, through: slot.through ?? slot.due };
  }
  return folded;
}
