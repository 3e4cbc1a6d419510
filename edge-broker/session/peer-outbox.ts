import { BatchQueue } from '../../runtime/wire/batch-queue.ts';

/**
 * Records waiting for one peer of the ROUTER socket. The transport takes one batch at a time from it;
 * a peer that reads slowly only makes its own outbox grow, and what may grow is bounded by credit and concurrency.
 */
export class PeerOutbox extends BatchQueue {
  readonly #wake: (outbox: PeerOutbox) => void;
  /** ZeroMQ's routing id of the peer. */
  readonly routingId: Buffer;
  /** The transport knows that there is something to send. Only the transport clears it. */
  queued = false;
  /** Its session has ended: what cannot be sent at once is dropped. */
  retired = false;

  constructor(routingId: Buffer, wake: (outbox: PeerOutbox) => void) {
    super();
    this.routingId = routingId;
    this.#wake = wake;
  }

  protected get announced(): boolean {
    return this.queued;
  }

  protected announce(): void {
    if (this.queued) return;
    this.queued = true;
    this.#wake(this);
  }
}
