import { TriggerFsError } from '../../protocol/errors.ts';

/** Who is waiting of one key. */
type Line = (() => void)[];

/** Options of `FairQueue`. */
export interface FairQueueOptions {
  /** How much runs at once. */
  readonly concurrency: number;
  /** How many may wait of one key; more are refused at once. */
  readonly perKey: number;
  /** Longest wait in milliseconds. */
  readonly waitMs: number;
}

/**
 * Lets expensive work of many callers run in turns: one of each key, round and round, and keys that have done nothing wrong before
 * those that have. Somebody who sends a hundred guesses waits for themselves, not others for them.
 */
export class FairQueue {
  readonly #options: FairQueueOptions;
  readonly #good = new Map<string, Line>();
  readonly #suspect = new Map<string, Line>();
  #running = 0;

  constructor(options: FairQueueOptions) {
    this.#options = options;
  }

  /** Runs work when it is the key's turn. @throws TriggerFsError TFS_BUSY when too many wait, or for too long */
  async run<T>(key: string, suspect: boolean, work: () => Promise<T>): Promise<T> {
    if (this.#running >= this.#options.concurrency) await this.#wait(suspect ? this.#suspect : this.#good, key);
    else this.#running += 1;
    try {
      return await work();
    } finally {
      this.#leave();
    }
  }

  /** Resolves with the place of somebody who has left. */
  #wait(lines: Map<string, Line>, key: string): Promise<void> {
    const line = lines.get(key) ?? [];
    if (line.length >= this.#options.perKey) throw busy();
    lines.set(key, line);
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        line.splice(line.indexOf(enter), 1);
        if (line.length === 0 && lines.get(key) === line) lines.delete(key);
        reject(busy());
      }, this.#options.waitMs);
      const enter = (): void => {
        clearTimeout(timer);
        resolve();
      };
      line.push(enter);
    });
  }

  #leave(): void {
    const lines = this.#good.size > 0 ? this.#good : this.#suspect;
    const [next] = lines;
    if (next === undefined) {
      this.#running -= 1;
      return;
    }
    const [key, line] = next;
    const enter = line.shift();
    // To the end of the round.
    lines.delete(key);
    if (line.length > 0) lines.set(key, line);
    enter?.();
  }
}

function busy(): TriggerFsError {
  return new TriggerFsError('TFS_BUSY', 'too many logins are being checked; try again in a moment');
}
