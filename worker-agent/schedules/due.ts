import { type CatchUp, type FireOutcome, SCHEDULE_LIMITS } from '../../protocol/http/schedule.ts';
import type { Slots } from './slots.ts';

/** A slot that is fired later than this is `late`. */
const ON_TIME_MS = 1_000;
/** Up to this age the newest slot is fired whatever the schedule says about catching up: what was held up so shortly was not missed. */
const PATIENCE_MS = 30_000;
/** So many slots are looked at one by one; of more, the oldest are summed up. */
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
 * What is to be done at `now` about the slots after `last`, oldest first; the same that a control-plane would do. Usually that is one slot,
 * on time. After a pause (restart, suspended machine, clock moved forward) the newest one still fires if it is not too old;
 * for the others the schedule says what is caught up, and the rest is recorded as missed. A clock moved back gives nothing.
 */
export function dueSlots(slots: Slots, rule: CatchUpRule, last: number, now: number): DueSlot[] {
  const horizon = now - rule.offsetMs;
  const { each, summed } = pendingSlots(slots, last, horizon);
  const decided = each.map((due, place) => decide(due, each.length - place, rule, horizon - due));
  return summed === null ? decided : [summed, ...decided];
}

function pendingSlots(slots: Slots, last: number, horizon: number): { each: readonly number[]; summed: DueSlot | null } {
  const each: number[] = [];
  for (let slot = slots.after(last); slot !== null && slot <= horizon; slot = slots.after(slot)) {
    each.push(slot);
    if (each.length > MAX_SLOTS) break;
  }
  if (each.length <= MAX_SLOTS) return { each, summed: null };
  const newest = slots.upTo(horizon, SCHEDULE_LIMITS.catchup + 1).toReversed();
  // The oldest of them only marks where the summed ones end.
  return { each: newest.slice(1), summed: missed(each[0] as number, newest[0] as number, 'nothing could fire them in time') };
}

/** `rank`: 1 for the newest slot, 2 for the one before it, and so on. */
function decide(due: number, rank: number, rule: CatchUpRule, lateness: number): DueSlot {
  const fire = (outcome: FireOutcome): DueSlot => ({ due, through: null, fire: true, outcome, reason: '' });
  if (rank === 1 && lateness <= PATIENCE_MS) return fire(lateness <= ON_TIME_MS ? 'fired' : 'late');
  if (rule.catchup === 'skip') return missed(due, null, 'nothing could fire it in time');
  if (rule.catchup === 'one' && rank > 1) return missed(due, null, 'a later slot was due when it could fire again');
  if (lateness > rule.catchupWindowMs) return missed(due, null, 'it is older than the window for catching up');
  if (rank > SCHEDULE_LIMITS.catchup) return missed(due, null, `only ${SCHEDULE_LIMITS.catchup} slots are caught up`);
  return fire('caught-up');
}

function missed(due: number, through: number | null, reason: string): DueSlot {
  return { due, through, fire: false, outcome: 'missed', reason };
}
