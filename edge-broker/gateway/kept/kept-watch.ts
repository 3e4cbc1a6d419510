import type { Logger } from '../../../runtime/logging.ts';
import { hasEnded, type Kept, type KeptReference, type KeptStore } from './kept-store.ts';

const TICK_MS = 250;

interface Watcher {
  readonly reference: KeptReference;
  readonly see: (kept: Kept) => void;
  readonly cancel: () => void;
}

/**
 * Waits for accepted invocations: one statement for all of them, four times a second, and only while somebody waits.
 * While the database is away everyone goes on waiting.
 */
export class KeptWatch {
  readonly #store: KeptStore;
  readonly #log: Logger;
  readonly #watchers = new Set<Watcher>();
  #timer: NodeJS.Timeout | null = null;
  #failing = false;

  constructor(store: KeptStore, log: Logger) {
    this.#store = store;
    this.#log = log;
  }

  /** Who waits. */
  get size(): number {
    return this.#watchers.size;
  }

  /** Resolves with the invocation once it has ended; null when the time or the signal ends the waiting. */
  ended(reference: KeptReference, limitMs: number, signal: AbortSignal): Promise<Kept | null> {
    return this.#wait(reference, hasEnded, limitMs, signal);
  }

  /** Resolves with the invocation as it is at the next look; null as above. */
  looked(reference: KeptReference, limitMs: number, signal: AbortSignal): Promise<Kept | null> {
    return this.#wait(reference, () => true, limitMs, signal);
  }

  /** Ends all waiting. */
  stop(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    for (const { cancel } of this.#watchers) cancel();
  }

  #wait(reference: KeptReference, enough: (kept: Kept) => boolean, limitMs: number, signal: AbortSignal): Promise<Kept | null> {
    const { promise, resolve } = Promise.withResolvers<Kept | null>();
    const end = (kept: Kept | null): void => {
      clearTimeout(limit);
      signal.removeEventListener('abort', abort);
      this.#watchers.delete(watcher);
      resolve(kept);
    };
    const watcher: Watcher = {
      reference,
      see: (kept) => {
        if (enough(kept)) end(kept);
      },
      cancel: () => end(null),
    };
    const abort = watcher.cancel;
    const limit = setTimeout(abort, limitMs);
    signal.addEventListener('abort', abort, { once: true });
    if (signal.aborted) abort();
    else this.#watchers.add(watcher);
    this.#timer ??= setTimeout(() => void this.#look(), TICK_MS);
    return promise;
  }

  async #look(): Promise<void> {
    const watchers = [...this.#watchers];
    try {
      const found = new Map((await this.#store.find(watchers.map(({ reference }) => reference))).map((kept) => [keyOf(kept), kept]));
      for (const watcher of watchers) {
        const kept = found.get(keyOf(watcher.reference));
        if (kept !== undefined && this.#watchers.has(watcher)) watcher.see(kept);
      }
      this.#failing = false;
    } catch (err) {
      if (!this.#failing) this.#log.warn({ err }, 'cannot look at accepted invocations, trying again');
      this.#failing = true;
    }
    this.#timer = this.#watchers.size === 0 ? null : setTimeout(() => void this.#look(), TICK_MS);
  }
}

function keyOf({ teamId, id }: KeptReference): string {
  return `${teamId} ${id}`;
}
