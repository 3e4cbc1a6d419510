import type { Overlap } from '../../protocol/http/schedule.ts';
import type { ResidentSchedule } from '../../protocol/resident.ts';
import { type DueSlot, dueSlots } from './due.ts';
import type { JournalFire, NewFire } from './fire.ts';
import { type Slots, slotsOf } from './slots.ts';

/** Fires of a schedule that may be open when a slot wants to add one. */
const ROOM: Readonly<Record<Overlap, number>> = { skip: 1, queue: 2, allow: Number.POSITIVE_INFINITY };
const SKIPPED: Readonly<Record<Overlap, string>> = {
  skip: 'an earlier fire has not ended',
  queue: 'an earlier fire has not ended, and another one waits',
  allow: '',
};

/** One schedule that this worker keeps: which of its slots are dealt with, and which of its fires are on their way. */
export class Keeper {
  readonly definition: ResidentSchedule;
  readonly #slots: Slots;
  /** Sequences of fires that run. */
  readonly #running: Set<number>;
  /** Fires that wait for those to end, in order. */
  readonly #waiting: JournalFire[];
  #last: number;
  #nextAt: number;

  /** `before`: the same schedule under an older definition, whose fires go on. @throws Error when the rule cannot be read */
  constructor(definition: ResidentSchedule, last: number, before: Keeper | null) {
    this.definition = definition;
    this.#slots = slotsOf(definition);
    this.#running = before === null ? new Set() : before.#running;
    this.#waiting = before === null ? [] : before.#waiting;
    this.#last = last;
    this.#nextAt = this.#next();
  }

  /** All slots up to this time are dealt with. */
  get last(): number {
    return this.#last;
  }

  /** When there is something to do next, in milliseconds since 1970; infinity when there is nothing any more. */
  get nextAt(): number {
    return this.#nextAt;
  }

  /** What is to be written down at `now`, oldest first; `advance` tells that it was. */
  due(now: number): readonly NewFire[] {
    if (now < this.#nextAt) return [];
    const { definition } = this;
    const from = Math.max(this.#last, definition.pausedUntil - 1);
    const slots = dueSlots(this.#slots, definition, from, now);
    const open = this.#running.size + this.#waiting.length;
    let busy = open > 0;
    return slots.map((slot) => {
      const fire = this.#fireOf(slot, now, open, busy);
      busy ||= fire.run !== null;
      return fire;
    });
  }

  /** These slots stand in the journal. */
  advance(fires: readonly NewFire[]): void {
    const newest = fires.at(-1);
    if (newest !== undefined) this.#last = Math.max(this.#last, newest.through ?? newest.due);
    this.#nextAt = this.#next();
  }

  /** A fire runs from now on. */
  runs(fire: JournalFire): void {
    this.#running.add(fire.sequence);
  }

  /** A fire waits until others have ended. */
  waits(fire: JournalFire): void {
    this.#waiting.push(fire);
  }

  /** A fire has ended. Returns the one that may begin now. */
  ended(sequence: number): JournalFire | null {
    this.#running.delete(sequence);
    return this.#running.size === 0 ? (this.#waiting.shift() ?? null) : null;
  }

  #next(): number {
    const next = this.#slots.after(Math.max(this.#last, this.definition.pausedUntil - 1));
    return next === null ? Number.POSITIVE_INFINITY : next + this.definition.offsetMs;
  }

  /** `open`: fires that have not ended; `busy`: there are some, or there are earlier slots of the same moment. */
  #fireOf(slot: DueSlot, now: number, open: number, busy: boolean): NewFire {
    const { schedule, generation, name, service, plugin, args, payload, timeoutMs, denied, overlap } = this.definition;
    const { due, through, outcome, reason } = slot;
    const entry = { schedule, generation, due, through, at: now };
    if (!slot.fire) return { ...entry, outcome, reason, run: null, waits: false };
    // What is caught up was asked for: it waits for its turn.
    if (outcome !== 'caught-up' && open >= ROOM[overlap])
      return { ...entry, outcome: 'skipped', reason: SKIPPED[overlap], run: null, waits: false };
    const run = { name, service, plugin, args, payload, timeoutMs, ...(denied === undefined ? {} : { denied }) };
    return { ...entry, outcome, reason, run, waits: busy && overlap !== 'allow' };
  }
}
