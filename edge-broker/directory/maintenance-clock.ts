import type { Maintenance } from './fleet.ts';

/** Longest delay of a timer; what is later is looked at again. */
const MAX_DELAY_MS = 24 * 3_600_000;

/**
 * Calls once when announced maintenance begins. What had begun before the first look is the one that this process
 * was started again for, and is left alone.
 */
export class MaintenanceClock {
  readonly #begin: () => void;
  #passed: Set<number> | null = null;
  #timer: NodeJS.Timeout | null = null;
  #done = false;

  /** `begin` is called at most once. */
  constructor(begin: () => void) {
    this.#begin = begin;
  }

  /** Takes what is announced now; maintenance that is no longer there does not take place. */
  update(maintenances: readonly Maintenance[]): void {
    const now = Date.now();
    this.#passed ??= new Set(maintenances.filter(({ startsAt }) => startsAt <= now).map(({ id }) => id));
    const passed = this.#passed;
    const next = Math.min(...maintenances.filter(({ id }) => !passed.has(id)).map(({ startsAt }) => startsAt));
    this.#wait(next);
  }

  /** Waits no longer. */
  stop(): void {
    this.#done = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
  }

  #wait(until: number): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    if (this.#done || until === Number.POSITIVE_INFINITY) return;
    const left = until - Date.now();
    if (left <= 0) {
      this.stop();
      this.#begin();
      return;
    }
    this.#timer = setTimeout(() => this.#wait(until), Math.min(left, MAX_DELAY_MS));
  }
}
