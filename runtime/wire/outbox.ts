import { BatchWriter } from '../../protocol/batch.ts';
import { LIMITS } from '../../protocol/limits.ts';

/** How long a record that nobody waits for stays for company. */
const LINGER_MS = 1;

/** Sends one batch; settles when the transport took it. Never called again before it settled. */
export type SendBatch = (batch: Buffer) => Promise<void>;

/**
 * Collects the records for one destination during a turn of the event loop and sends them as one batch.
 * An idle connection therefore adds no latency, and a busy one makes large batches by itself.
 * There is exactly one writer per socket, because a ZeroMQ socket takes one send at a time.
 */
export class Outbox {
  readonly #writer = new BatchWriter();
  readonly #full: Buffer[] = [];
  readonly #send: SendBatch;
  readonly #onError: (error: unknown) => void;
  #fullBytes = 0;
  #scheduled = false;
  #sending = false;
  #closed = false;
  #lingering: NodeJS.Timeout | null = null;

  constructor(send: SendBatch, onError: (error: unknown) => void) {
    this.#send = send;
    this.#onError = onError;
  }

  /** The bytes under construction; valid until the next call of this outbox. */
  get buffer(): Buffer {
    return this.#writer.buffer;
  }

  /** Bytes waiting to be sent. */
  get pendingBytes(): number {
    return this.#fullBytes + (this.#writer.empty ? 0 : this.#writer.length);
  }

  /** Starts a record and returns the offset of its body in `buffer`; it leaves at the end of this turn. */
  reserve(type: number, flags: number, bodyBytes: number): number {
    this.#prepare(bodyBytes);
    return this.#writer.reserve(type, flags, bodyBytes);
  }

  /**
   * Like `reserve`, for a record that nobody waits for: it leaves with the next other one, or alone after a millisecond.
   * A message of its own would wake three threads at either end.
   */
  reserveLingering(type: number, flags: number, bodyBytes: number): number {
    if (this.#closed || this.#writer.length + bodyBytes > LIMITS.batchTargetBytes) return this.reserve(type, flags, bodyBytes);
    if (!this.#scheduled && !this.#sending) this.#lingering ??= setTimeout(this.#lingered, LINGER_MS);
    return this.#writer.reserve(type, flags, bodyBytes);
  }

  /** Appends a copy of `source.subarray(start, end)` as the body of a record and returns the body's offset in `buffer`. */
  copy(type: number, flags: number, source: Buffer, start: number, end: number): number {
    this.#prepare(end - start);
    return this.#writer.copy(type, flags, source, start, end);
  }

  /** Appends a control record. */
  json(type: number, value: unknown): void {
    const body = Buffer.from(JSON.stringify(value));
    this.copy(type, 0, body, 0, body.length);
  }

  /** Drops everything that has not been sent and accepts nothing more. */
  close(): void {
    this.#closed = true;
    if (this.#lingering !== null) clearTimeout(this.#lingering);
    this.#full.length = 0;
    this.#fullBytes = 0;
    this.#writer.clear();
  }

  /** Resolves when everything collected so far was handed to the transport, or the outbox was closed. */
  async flushed(): Promise<void> {
    while (!this.#closed && (this.#sending || this.#scheduled)) await new Promise((resolve) => setImmediate(resolve));
  }

  readonly #lingered = (): void => {
    this.#lingering = null;
    if (!this.#writer.empty && !this.#scheduled && !this.#sending) void this.#drain();
  };

  #prepare(bodyBytes: number): void {
    const writer = this.#writer;
    if (!writer.empty && writer.length + bodyBytes > LIMITS.batchTargetBytes) {
      const batch = writer.take();
      this.#full.push(batch);
      this.#fullBytes += batch.length;
    }
    if (!this.#scheduled && !this.#sending && !this.#closed) {
      this.#scheduled = true;
      setImmediate(this.#drain);
    }
  }

  readonly #drain = async (): Promise<void> => {
    this.#scheduled = false;
    this.#sending = true;
    try {
      for (let batch = this.#next(); batch !== null; batch = this.#next()) await this.#send(batch);
    } catch (error) {
      if (!this.#closed) this.#onError(error);
    } finally {
      this.#sending = false;
    }
  };

  #next(): Buffer | null {
    const batch = this.#full.shift();
    if (batch !== undefined) {
      this.#fullBytes -= batch.length;
      return batch;
    }
    return this.#writer.empty || this.#closed ? null : this.#writer.take();
  }
}
