import type { Logger } from '../../runtime/logging.ts';
import { Backoff } from '../../runtime/wire/backoff.ts';
import type { Clock } from './clock.ts';
import type { Firing, HeldSlot } from './firing.ts';
import type { ScheduleMetrics } from './metrics.ts';
import type { Planner } from './planner.ts';
import { Wheel } from './wheel.ts';

/** What is due sooner than this stays in the timer of whoever learns of it; the database makes jobs for what is due later. */
const KEEP_MS = 10_000;

/** What a timekeeper works with. */
export interface TimekeeperParts {
  readonly clock: Clock;
  readonly planner: Planner;
  readonly firing: Firing;
  readonly metrics: ScheduleMetrics;
  readonly log: Logger;
  /** Called when something was handed to the queue. */
  readonly onFired: () => void;
}

/**
 * Keeps slots until they are due and has them fired: all of a tick together, one batch after another. A slot with a short period goes back into the
 * wheel after it fired. Nothing here is owned: other control-planes may keep the same slot, and the first one fires it.
 */
export class Timekeeper {
  readonly #parts: TimekeeperParts;
  readonly #wheel: Wheel<HeldSlot>;
  /** By schedule, what the wheel has: jobs and sweeps may bring it again. */
  readonly #held = new Map<number, HeldSlot>();
  #due: HeldSlot[] = [];
  #firing: Promise<void> | null = null;
  /** Schedules whose rows were locked when they were to be planned. */
  readonly #unplanned = new Set<number>();
  readonly #pause = new Backoff(100, 5_000);
  #again: NodeJS.Timeout | null = null;
  #stopped = false;

  constructor(parts: TimekeeperParts) {
    this.#parts = parts;
    this.#wheel = new Wheel(parts.clock, (slots) => this.#ring(slots));
  }

  /** Gives schedules their next run, and keeps those that are due soon. @throws when the database is away */
  async plan(ids: readonly number[]): Promise<void> {
    const { slots, locked } = await this.#parts.planner.plan(ids);
    this.#keep(slots);
    this.#planLater(locked);
  }

  /** Keeps the slots that schedules are planned for, if they are due soon or overdue. @throws when the database is away */
  async hold(ids: readonly number[]): Promise<void> {
    this.#keep(await this.#parts.planner.slots(ids));
  }

  /** Stops firing, after the batch that is under way. Returns the schedules whose slots others should keep now. */
  async stop(): Promise<readonly number[]> {
    this.#stopped = true;
    if (this.#again !== null) clearTimeout(this.#again);
    this.#wheel.clear();
    await this.#firing;
    const left = [...this.#held.keys()];
    this.#held.clear();
    return left;
  }

  /** Their jobs are done with, so they are tried again from here; should this process die first, the housekeeping finds them. */
  #planLater(ids: readonly number[]): void {
    for (const id of ids) this.#unplanned.add(id);
    if (this.#unplanned.size === 0) this.#pause.reset();
    if (this.#unplanned.size === 0 || this.#again !== null || this.#stopped) return;
    this.#again = setTimeout(() => void this.#planAgain(), this.#pause.next());
    this.#again.unref();
  }

  async #planAgain(): Promise<void> {
    const ids = [...this.#unplanned];
    this.#unplanned.clear();
    this.#again = null;
    try {
      await this.plan(ids);
    } catch (err) {
      this.#parts.log.debug({ err }, 'schedules whose rows were locked were not planned');
      this.#planLater(ids);
    }
  }

  #keep(slots: readonly HeldSlot[]): void {
    if (this.#stopped) return;
    const horizon = this.#parts.clock.now() + KEEP_MS;
    for (const slot of slots) {
      const time = slot.dueAt + slot.offsetMs;
      if (time > horizon || isSame(this.#held.get(slot.id), slot)) continue;
      this.#held.set(slot.id, slot);
      this.#wheel.add(time, slot);
    }
  }

  #ring(slots: readonly HeldSlot[]): void {
    // What was replaced by another slot of the same schedule is not fired.
    this.#due.push(...slots.filter((slot) => this.#held.get(slot.id) === slot));
    this.#firing ??= this.#fire().finally(() => {
      this.#firing = null;
    });
  }

  async #fire(): Promise<void> {
    while (this.#due.length > 0 && !this.#stopped) {
      const slots = this.#due;
      this.#due = [];
      for (const { id } of slots) this.#held.delete(id);
      try {
        const { fired, next } = await this.#parts.firing.fire(slots);
        for (const slot of fired) this.#parts.metrics.observe(slot);
        if (fired.length > 0) this.#parts.onFired();
        this.#keep(next);
      } catch (err) {
        // The database is away. What was due is overdue then, and found by the sweep.
        this.#parts.log.warn({ err, slots: slots.length }, 'slots could not fire');
      }
    }
  }
}

function isSame(a: HeldSlot | undefined, b: HeldSlot): boolean {
  return a !== undefined && a.version === b.version && a.dueAt === b.dueAt && a.offsetMs === b.offsetMs;
}
