import { TriggerFsError } from '../../protocol/errors.ts';

/** Attempts of one key within a minute. */
interface Window {
  failures: number;
  /** Attempts whose outcome is not known yet; each may become a failure. */
  pending: number;
  readonly endsAt: number;
  readonly waiting: (() => void)[];
}

const WINDOW_MS = 60_000;
const MAX_KEYS = 50_000;
const MAX_WAITING = 1_000;
/** Together with the wait for a check it must stay below what a connection may be silent. */
const WAIT_MS = 4_500;

/**
 * Limits failed logins per key and minute, before the database is asked. No more attempts run at once than may still fail,
 * the others wait for their outcome: parallel guesses do not slip through, and many right logins at once all succeed.
 */
export class Attempts {
  readonly #limit: number;
  readonly #windows = new Map<string, Window>();

  /** `limit`: failures per key and minute. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /**
   * Runs a check; undefined is a failure, an error is none.
   * @throws TriggerFsError without running it: TFS_RATE_LIMITED, or TFS_BUSY when others of the key take too long
   */
  async run<T>(key: string, check: () => Promise<T | undefined>): Promise<T | undefined> {
    const window = await this.#enter(key);
    try {
      const found = await check();
      if (found === undefined) window.failures += 1;
      return found;
    } finally {
      window.pending -= 1;
      if (window.failures >= this.#limit) for (const wake of window.waiting.splice(0)) wake();
      else window.waiting.shift()?.();
    }
  }

  /** Whether the key has failed within its current minute. */
  hasFailed(key: string): boolean {
    const window = this.#windows.get(key);
    return window !== undefined && window.failures > 0 && window.endsAt > Date.now();
  }

  async #enter(key: string): Promise<Window> {
    for (;;) {
      const window = this.#window(key);
      if (window.failures >= this.#limit || window.waiting.length >= MAX_WAITING) {
        const seconds = Math.ceil((window.endsAt - Date.now()) / 1000);
        throw new TriggerFsError('TFS_RATE_LIMITED', `too many failed logins; the next one is looked at in ${seconds} s`);
      }
      if (window.failures + window.pending < this.#limit) {
        window.pending += 1;
        return window;
      }
      await wait(window.waiting);
    }
  }

  /** The key's current window. The oldest keys are forgotten when there are too many. */
  #window(key: string): Window {
    const now = Date.now();
    const known = this.#windows.get(key);
    if (known !== undefined && known.endsAt > now) return known;
    const window: Window = { failures: 0, pending: 0, endsAt: now + WINDOW_MS, waiting: [] };
    this.#windows.delete(key);
    this.#windows.set(key, window);
    for (const oldest of this.#windows.keys()) {
      if (this.#windows.size <= MAX_KEYS) break;
      this.#windows.delete(oldest);
    }
    return window;
  }
}

/** Resolves when it is called from the list. */
function wait(waiting: (() => void)[]): Promise<void> {
  return new Promise((resolve, reject) => {
    const wake = (): void => {
      clearTimeout(timer);
      resolve();
    };
    const timer = setTimeout(() => {
      waiting.splice(waiting.indexOf(wake), 1);
      reject(new TriggerFsError('TFS_BUSY', 'too many logins are being checked; try again in a moment'));
    }, WAIT_MS);
    waiting.push(wake);
  });
}
