/** Longest time that a Node.js timer takes. */
const MAX_DELAY_MS = 2 ** 31 - 1;

/**
 * One timer for all deadlines: set to the earliest one, it costs nothing per run while later runs end later.
 * Runs that end early leave it as it is; when it fires, the sweep says which deadline is next.
 */
export class DeadlineTimer {
  readonly #sweep: () => number;
  #earliest = Number.POSITIVE_INFINITY;
  #timer: NodeJS.Timeout | null = null;

  /** `sweep` handles everything that is due and returns the next deadline, or infinity. */
  constructor(sweep: () => number) {
    this.#sweep = sweep;
  }

  /** Something is due at `deadline`; both are times of `performance.now()`. */
  add(deadline: number, now: number): void {
    if (deadline >= this.#earliest) return;
    this.#arm(deadline, now);
  }

  stop(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
  }

  #arm(deadline: number, now: number): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#earliest = deadline;
    this.#timer = setTimeout(() => this.#fire(), Math.min(Math.max(Math.ceil(deadline - now), 0), MAX_DELAY_MS));
  }

  #fire(): void {
    this.#timer = null;
    this.#earliest = Number.POSITIVE_INFINITY;
    const next = this.#sweep();
    if (next < this.#earliest) this.#arm(next, performance.now());
  }
}
