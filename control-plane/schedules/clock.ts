/** Time as schedules see it. Everything that decides about slots asks one of these, so that tests can turn it. */
export interface Clock {
  /** Milliseconds since 1970. */
  now(): number;
  /** Calls once at or after a time; returns what takes that back. */
  at(time: number, call: () => void): () => void;
}

/** Longest time that one timer of Node takes. */
const MAX_TIMER_MS = 2 ** 31 - 1;
/** Differences below this are noise of the network. */
const NOISE_MS = 5;

/** The database's clock, seen from this process: all control-planes on one database agree on it, whatever their machines show. */
export class DatabaseClock implements Clock {
  #offset = 0;

  now(): number {
    return Date.now() + this.#offset;
  }

  at(time: number, call: () => void): () => void {
    let timer: NodeJS.Timeout;
    // Timers may fire a millisecond early, and the offset may have changed meanwhile.
    const wait = (): void => {
      const left = time - this.now();
      timer = setTimeout(() => (this.now() < time ? wait() : call()), Math.min(Math.max(1, left), MAX_TIMER_MS));
    };
    wait();
    return () => clearTimeout(timer);
  }

  /** Takes over what the database said between two moments of `Date.now()`. */
  adjust(database: number, asked: number, answered: number): void {
    const offset = database - (asked + answered) / 2;
    if (Math.abs(offset - this.#offset) > (answered - asked) / 2 + NOISE_MS) this.#offset = Math.round(offset);
  }
}
