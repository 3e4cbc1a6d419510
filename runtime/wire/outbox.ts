import { BatchQueue } from './batch-queue.ts';

/** Sends one batch; settles when the transport took it. Never called again before it settled. */
export type SendBatch = (batch: Buffer) => Promise<void>;

/**
 * Collects the records for one destination during a turn of the event loop and sends them as one batch.
 * An idle connection therefore adds no latency, and a busy one makes large batches by itself.
 * There is exactly one writer per socket, because a ZeroMQ socket takes one send at a time.
 */
export class Outbox extends BatchQueue {
  readonly #send: SendBatch;
  readonly #onError: (error: unknown) => void;
  #scheduled = false;
  #sending = false;
  #closed = false;

  constructor(send: SendBatch, onError: (error: unknown) => void) {
    super();
    this.#send = send;
    this.#onError = onError;
  }

  /** Drops everything that has not been sent and sends nothing more. */
  close(): void {
    this.#closed = true;
    this.clear();
  }

  /** Resolves when everything collected so far was handed to the transport, or the outbox was closed. */
  async flushed(): Promise<void> {
    while (!this.#closed && (this.#sending || this.#scheduled)) await new Promise((resolve) => setImmediate(resolve));
  }

  protected get announced(): boolean {
    return this.#scheduled || this.#sending || this.#closed;
  }

  protected announce(): void {
    if (this.announced) return;
    this.#scheduled = true;
    setImmediate(this.#drain);
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
    return this.#closed ? null : this.take();
  }
}
