import { BatchWriter } from '../../protocol/batch.ts';
import { LIMITS } from '../../protocol/limits.ts';

/** How long a record that nobody waits for stays for company. */
const LINGER_MS = 1;

/**
 * Records waiting for one peer of the ROUTER socket. The transport takes one batch at a time from it;
 * a peer that reads slowly only makes its own outbox grow, and what may grow is bounded by credit and concurrency.
 */
export class PeerOutbox {
  readonly #writer = new BatchWriter();
  readonly #full: Buffer[] = [];
  readonly #wake: (outbox: PeerOutbox) => void;
  #fullBytes = 0;
  #lingering = false;
  /** ZeroMQ's routing id of the peer. */
  readonly routingId: Buffer;
  /** The transport knows that there is something to send. Only the transport clears it. */
  queued = false;
  /** Its session has ended: what cannot be sent at once is dropped. */
  retired = false;

  constructor(routingId: Buffer, wake: (outbox: PeerOutbox) => void) {
    this.routingId = routingId;
    this.#wake = wake;
  }

  /** The bytes under construction; valid until the next call of this outbox. */
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
    if (!this.queued && !this.#lingering) {
      this.#lingering = true;
      setTimeout(this.#lingered, LINGER_MS);
    }
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

  /** Puts a batch back that the socket could not take. */
  putBack(batch: Buffer): void {
    this.#full.unshift(batch);
    this.#fullBytes += batch.length;
  }

  readonly #lingered = (): void => {
    this.#lingering = false;
    if (!this.#writer.empty) this.#announce();
  };

  #announce(): void {
    if (this.queued) return;
    this.queued = true;
    this.#wake(this);
  }

  #prepare(bodyBytes: number): void {
    const writer = this.#writer;
    if (!writer.empty && writer.length + bodyBytes > LIMITS.batchTargetBytes) {
      const batch = writer.take();
      this.#full.push(batch);
      this.#fullBytes += batch.length;
    }
    this.#announce();
  }
}
