import type { Clock } from '../../control-plane/schedules/clock.ts';

/** A clock that stands still until it is turned. */
export class FakeClock implements Clock {
  #now: number;
  readonly #calls = new Set<{ readonly time: number; readonly call: () => void }>();

  constructor(start: string) {
    this.#now = Date.parse(start);
  }

  now(): number {
    return this.#now;
  }

  at(time: number, call: () => void): () => void {
    const entry = { time, call };
    this.#calls.add(entry);
    return () => void this.#calls.delete(entry);
  }

  /** Turns the clock forward, calling what is due on the way in its order and at its time. */
  advance(ms: number): void {
    const end = this.#now + ms;
    for (;;) {
      const [next] = [...this.#calls].filter(({ time }) => time <= end).sort((a, b) => a.time - b.time);
      if (next === undefined) break;
      this.#calls.delete(next);
      this.#now = Math.max(this.#now, next.time);
      next.call();
    }
    this.#now = end;
  }
}
