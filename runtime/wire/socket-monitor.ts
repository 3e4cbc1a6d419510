import type { EventType, Observer, Socket } from 'zeromq';

const CLOSE_AFTER_MS = 1_000;

/**
 * Tells what happens to the connections of a ZeroMQ socket.
 * A monitor ends by itself when its socket is closed, but now and then that last event gets lost and the monitor would
 * keep the process alive for ever. `release` therefore looks again a second later; closing it at once is not possible,
 * because its address is free only after the socket is gone.
 */
export class SocketMonitor {
  readonly #observer: Observer;

  /** Begins to watch; `handler` gets the type of each event. */
  constructor(socket: Socket, handler: (type: EventType) => void) {
    this.#observer = socket.events;
    void this.#watch(handler);
  }

  /** Must be called after the socket was closed. */
  release(): void {
    const timer = setTimeout(() => this.#observer.close(), CLOSE_AFTER_MS);
    timer.unref();
  }

  async #watch(handler: (type: EventType) => void): Promise<void> {
    try {
      // An observer that is closed while it waits yields undefined, whatever its type says.
      for await (const event of this.#observer as AsyncIterable<{ type: EventType } | undefined>) {
        if (event === undefined) return;
        handler(event.type);
      }
    } catch {
      // The observer was closed between two events.
    }
  }
}
