import { TriggerFsError } from '../../protocol/errors.ts';

/** A window of failed attempts. */
interface Window {
  failures: number;
  readonly endsAt: number;
}

const WINDOW_MS = 60_000;
const MAX_ENTRIES = 50_000;

/**
 * Counts failed logins per key in windows of a minute, before the database is asked. An attempt counts as failed until it
 * succeeds, so parallel guesses cannot slip through. The oldest keys are forgotten when there are too many.
 */
export class Attempts {
  readonly #limit: number;
  readonly #windows = new Map<string, Window>();

  /** `limit`: failures per key and minute. */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Counts an attempt. @throws TriggerFsError TFS_RATE_LIMITED */
  begin(key: string): void {
    const now = Date.now();
    const window = this.#windows.get(key);
    if (window === undefined || window.endsAt <= now) {
      this.#windows.delete(key);
      this.#windows.set(key, { failures: 1, endsAt: now + WINDOW_MS });
      this.#forget();
      return;
    }
    if (window.failures >= this.#limit) {
      const seconds = Math.ceil((window.endsAt - now) / 1000);
      throw new TriggerFsError('TFS_RATE_LIMITED', `too many failed logins; the next one is looked at in ${seconds} s`);
    }
    window.failures += 1;
  }

  /** The attempt was no failure (right password, or no answer at all). */
  excuse(key: string): void {
    const window = this.#windows.get(key);
    if (window !== undefined && window.failures > 0) window.failures -= 1;
  }

  #forget(): void {
    for (const key of this.#windows.keys()) {
      if (this.#windows.size <= MAX_ENTRIES) return;
      this.#windows.delete(key);
    }
  }
}
