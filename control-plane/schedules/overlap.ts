import type { Overlap } from '../../protocol/http/schedule.ts';
import type { Slot } from './slots.ts';

/** How many invocations of a schedule may be open, that is queued or running, when a slot wants to add one. */
const ROOM: Readonly<Record<Overlap, number>> = { skip: 1, queue: 2, allow: Number.POSITIVE_INFINITY };

/**
 * Gives up the slot of now when earlier fires have not ended. What is caught up was asked for: it waits for its turn instead.
 * @param open invocations of the schedule that have not ended
 */
export function withoutOverlap(slots: readonly Slot[], overlap: Overlap, open: number): readonly Slot[] {
  if (open < ROOM[overlap]) return slots;
  const reason = overlap === 'skip' ? 'an earlier fire has not ended' : 'an earlier fire has not ended, and another one waits';
  return slots.map((slot) => (slot.outcome === 'fired' || slot.outcome === 'late' ? { ...slot, outcome: 'skipped', reason } : slot));
}
