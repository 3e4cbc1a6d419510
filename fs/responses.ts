import type { StoredResponse } from './spool/message.ts';

interface Waiter {
  readonly sequence: number;
  readonly done: () => void;
}

/** Where responses are kept over restarts. */
export interface ResponseStore {
  readResponses(): Map<number, StoredResponse>;
  saveResponse(trigger: number, response: StoredResponse): void;
}

/** The last response of every trigger, and who waits for one. */
export class Responses {
  readonly #store: ResponseStore;
  readonly #latest: Map<number, StoredResponse>;
  readonly #answered = new Map<number, number>();
  readonly #waiters = new Map<number, Set<Waiter>>();

  constructor(store: ResponseStore) {
    this.#store = store;
    this.#latest = store.readResponses();
  }

  /** The last response of a trigger; undefined before the first. */
  latest(trigger: number): StoredResponse | undefined {
    return this.#latest.get(trigger);
  }

  /** Sequence of the newest message of a trigger that was answered; 0 for none since the start. */
  answered(trigger: number): number {
    return this.#answered.get(trigger) ?? 0;
  }

  /** Records the response to a message. An answer that comes after that of a newer message is not the last one. */
  record(trigger: number, sequence: number, response: StoredResponse): void {
    if (sequence < this.answered(trigger)) return;
    this.#answered.set(trigger, sequence);
    this.#latest.set(trigger, response);
    this.#store.saveResponse(trigger, response);
    this.#wake(trigger, sequence);
  }

  /** Waits until the message with this sequence, or a newer one, is answered; at most `limitMs`. */
  waitFor(trigger: number, sequence: number, limitMs: number): Promise<void> {
    return new Promise((resolve) => {
      const waiters = this.#waiters.get(trigger) ?? new Set();
      this.#waiters.set(trigger, waiters);
      const timer = setTimeout(() => waiter.done(), limitMs);
      const waiter: Waiter = {
        sequence,
        done: () => {
          clearTimeout(timer);
          waiters.delete(waiter);
          resolve();
        },
      };
      waiters.add(waiter);
    });
  }

  #wake(trigger: number, sequence: number): void {
    const waiters = this.#waiters.get(trigger);
    if (waiters === undefined || waiters.size === 0) return;
    for (const waiter of [...waiters]) if (waiter.sequence <= sequence) waiter.done();
  }
}
