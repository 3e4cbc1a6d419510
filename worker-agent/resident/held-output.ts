import type { Readable } from 'node:stream';
import type { Run } from '../runs/run.ts';

/** Output of a plugin above its runs' credit that is held before its pipe is not read any more. */
const LIMIT_BYTES = 1024 * 1024;

/**
 * Counts the output that waits for readers. A plugin that keeps to its credit never comes near the limit;
 * for one that does not, reading stops for all its runs until a reader has taken something.
 */
export class HeldOutput {
  readonly #source: () => Readable;
  readonly #held = new Map<Run, number>();
  #bytes = 0;

  constructor(source: () => Readable) {
    this.#source = source;
  }

  /** Output of a run could not be sent yet. */
  add(run: Run, bytes: number): void {
    this.#held.set(run, (this.#held.get(run) ?? 0) + bytes);
    this.#bytes += bytes;
    if (this.#bytes > LIMIT_BYTES) this.#source().pause();
  }

  /** The run's output was sent, or dropped. */
  release(run: Run): void {
    const bytes = this.#held.get(run);
    if (bytes === undefined) return;
    this.#held.delete(run);
    this.#bytes -= bytes;
    if (this.#bytes <= LIMIT_BYTES) this.#source().resume();
  }
}
