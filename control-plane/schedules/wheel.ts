import type { Clock } from './clock.ts';

/** Slots that are due within one tick fire together. */
const TICK_MS = 10;

/** Keeps things until their time comes, and hands over together what is due in the same tick. */
export class Wheel<T> {
  readonly #clock: Clock;
  readonly #due: (items: readonly T[]) => void;
  readonly #ticks = new Map<number, { readonly items: T[]; readonly cancel: () => void }>();

  constructor(clock: Clock, due: (items: readonly T[]) => void) {
    this.#clock = clock;
    this.#due = due;
  }

  /** Number of things that wait. */
  get size(): number {
    let size = 0;
    for (const { items } of this.#ticks.values()) size += items.length;
    return size;
  }

  /** Keeps something until a time in milliseconds since 1970; what is due already is handed over in this turn's next. */
  add(time: number, item: T): void {
    const tick = Math.ceil(Math.max(time, this.#clock.now()) / TICK_MS);
    const kept = this.#ticks.get(tick);
    if (kept !== undefined) return void kept.items.push(item);
    this.#ticks.set(tick, { items: [item], cancel: this.#clock.at(tick * TICK_MS, () => this.#turn(tick)) });
  }

  /** Forgets everything. */
  clear(): void {
    for (const { cancel } of this.#ticks.values()) cancel();
    this.#ticks.clear();
  }

  #turn(tick: number): void {
    const items = this.#ticks.get(tick)?.items ?? [];
    this.#ticks.delete(tick);
    this.#due(items);
  }
}
