import { BatchWriter } from '../../protocol/batch.ts';
import { LIMITS } from '../../protocol/limits.ts';

/** How long a record that nobody waits for stays for company. */
const LINGER_MS = 1;

/**
 * Records for one destination, collected into batches of at most the target size.
 * Who extends it decides when they leave: it is told by `announce` that there is something, and takes batch by batch.
 */
export abstract class BatchQueue {
  readonly #writer = new BatchWriter();
  readonly #full: Buffer[] = [];
  #fullBytes = 0;
  #lingering: NodeJS.Timeout | null = null;

  /** The bytes under construction; valid until the next call of this queue. */
  get buffer(): Buffer {
    return this.#writer.buffer;
  }

  /** Bytes waiting to be sent. */
  get pendingBytes(): number {
    return this.#fullBytes + (this.#writer.empty ? 0 : this.#writer.length);
  }

  /** Starts a record and returns the offset of its body in `buffer`. */
  reserve(type: number, flags: number, bodyBytes: number): number {
    this.#prepare(bodyBytes);
    return this.#writer.reserve(type, flags, bodyBytes);
  }

  /**
   * Like `reserve`, for a record that nobody waits for: it leaves with the next other one, or alone after a millisecond.
   * A message of its own would wake three threads at either end.
   */
  reserveLingering(type: number, flags: number, bodyBytes: number): number {
    if (this.#writer.length + bodyBytes > LIMITS.batchTargetBytes) return this.reserve(type, flags, bodyBytes);
    if (!this.announced) this.#lingering ??= setTimeout(this.#lingered, LINGER_MS);
    return this.#writer.reserve(type, flags, bodyBytes);
  }

  /** Appends a copy of `source.subarray(start, end)` as a record's body and returns the body's offset in `buffer`. */
  copy(type: number, flags: number, source: Buffer, start: number, end: number): number {
    this.#prepare(end - start);
    return this.#writer.copy(type, flags, source, start, end);
  }

  /** Appends a control record. */
  json(type: number, value: unknown): void {
    const body = Buffer.from(JSON.stringify(value));
    this.copy(type, 0, body, 0, body.length);
  }

  /** The next batch to send, or null. */
  take(): Buffer | null {
    const batch = this.#full.shift();
    if (batch !== undefined) {
      this.#fullBytes -= batch.length;
      return batch;
    }
    return this.#writer.empty ? null : this.#writer.take();
  }

  /** Puts a batch back that could not be sent. */
  putBack(batch: Buffer): void {
    this.#full.unshift(batch);
    this.#fullBytes += batch.length;
  }

  /** Drops everything that has not been taken. */
  clear(): void {
    if (this.#lingering !== null) clearTimeout(this.#lingering);
    this.#lingering = null;
    this.#full.length = 0;
    this.#fullBytes = 0;
    this.#writer.clear();
  }

  /** Whether what is collected will be taken without another call of `announce`. */
  protected abstract get announced(): boolean;

  /** There is something to be sent; called for each record. */
  protected abstract announce(): void;

  readonly #lingered = (): void => {
    this.#lingering = null;
    if (!this.#writer.empty) this.announce();
  };

  #prepare(bodyBytes: number): void {
    const writer = this.#writer;
    if (!writer.empty && writer.length + bodyBytes > LIMITS.batchTargetBytes) {
      const batch = writer.take();
      this.#full.push(batch);
      this.#fullBytes += batch.length;
    }
    this.announce();
  }
}
