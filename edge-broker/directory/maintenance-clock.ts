import type { Maintenance } from './fleet.ts';

/** Longest delay of a timer; what is later is looked at again. */
const MAX_DELAY_MS = 24 * 3_600_000;

/**
 * Calls once when announced maintenance begins. What had begun before the first look is the one that this process
 * was started again for, and is left alone.
 */
export class MaintenanceClock {
  readonly #begin: (id: number) => void;
  #passed: Set<number> | null = null;
  #timer: NodeJS.Timeout | null = null;
  #done = false;

  /** `begin` is called at most once, with the id of the maintenance. */
  constructor(begin: (id: number) => void) {
    this.#begin = begin;
  }

  /** Takes what is announced now; maintenance that is no longer there does not take place. */
  update(maintenances: readonly Maintenance[]): void {
    const now = Date.now();
    this.#passed ??= new Set(maintenances.filter(({ startsAt }) => startsAt <= now).map(({ id }) => id));
    const passed = this.#passed;
    const [next] = maintenances.filter(({ id }) => !passed.has(id)).toSorted((a, b) => a.startsAt - b.startsAt);
    this.#wait(next);
  }

  /** Waits no longer. */
  stop(): void {
    this.#done = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
  }

  #wait(next: Maintenance | undefined): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    if (this.#done || next === undefined) return;
    const left = next.startsAt - Date.now();
    if (left <= 0) {
      this.stop();
      this.#begin(next.id);
      return;
    }
    this.#timer = setTimeout(() => this.#wait(next), Math.min(left, MAX_DELAY_MS));
  }
}
