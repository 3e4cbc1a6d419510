import type { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { TriggerFsError } from '../../protocol/errors.ts';

/** Bodies that go on for long, so that the API can end: it would wait for them for ever. */
export class OpenStreams {
  readonly #limit: number;
  readonly #streams = new Set<Readable>();

  /** `limit`: most at once. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Streams that are open. */
  get size(): number {
    return this.#streams.size;
  }

  /** @throws TriggerFsError TFS_BUSY when there are too many; call it before anything is prepared */
  assertRoom(): void {
    if (this.#streams.size >= this.#limit)
      throw new TriggerFsError('TFS_BUSY', `${this.#limit} answers with output are open at this control-plane`);
  }

  /** Keeps a stream until it is closed, and returns it. */
  add(stream: Readable): Readable {
    this.#streams.add(stream);
    stream.once('close', () => this.#streams.delete(stream));
    return stream;
  }

  /** Waits for streams that are about to end, and cuts the others. */
  async close(graceMs: number): Promise<void> {
    for (const end = performance.now() + graceMs; this.#streams.size > 0 && performance.now() < end; ) await sleep(10);
    for (const stream of this.#streams) stream.destroy();
  }
}
