import { setTimeout as sleep } from 'node:timers/promises';

const POLL_MS = 10;

/** Spreads the items over the kills, so that something is under way at each of them, however slow the machine is. */
export class Pace {
  readonly #kills: number;
  readonly #pauseMs: number;
  #done = 0;
  #since = performance.now();

  /** `pauseMs`: between two kills, at least. */
  constructor(kills: number, pauseMs: number) {
    this.#kills = kills;
    this.#pauseMs = pauseMs;
  }

  /** A process was killed. */
  killed(): void {
    this.#done += 1;
    this.#since = performance.now();
  }

  /** Resolves when this part of all items, from 0 to 1, may have been accepted. */
  async reach(part: number): Promise<void> {
    while (this.#part() < part) await sleep(POLL_MS);
  }

  #part(): number {
    if (this.#done >= this.#kills) return 1;
    return (this.#done + Math.min(1, (performance.now() - this.#since) / this.#pauseMs)) / this.#kills;
  }
}
