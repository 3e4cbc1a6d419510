import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from '../../runtime/logging.ts';
import type { Database } from '../database.ts';

/** How often workers are looked at, and for how long they may be away; restarts and short interruptions are no news. */
export interface WatchTimes {
  readonly periodMs: number;
  readonly patienceMs: number;
}

const TIMES: WatchTimes = { periodMs: 10_000, patienceMs: 30_000 };

/**
 * Writes to the mailbox of a team when workers are lost for longer than half a minute, and when they are back.
 * Every control-plane runs one; the database lets one of them work at a time.
 */
export class WorkerWatch {
  readonly #database: Database;
  readonly #log: Logger;
  readonly #times: WatchTimes;
  readonly #ending = new AbortController();
  #loop: Promise<void> | null = null;

  /** The database is used as `triggerfs_jobs`. */
  constructor(database: Database, log: Logger, times: WatchTimes = TIMES) {
    this.#database = database;
    this.#log = log;
    this.#times = times;
  }

  /** Starts in the background. */
  start(): void {
    this.#loop ??= this.#run();
  }

  /** Waits for a look that is under way. */
  async stop(): Promise<void> {
    this.#ending.abort();
    await this.#loop;
  }

  async #run(): Promise<void> {
    const { signal } = this.#ending;
    while (!signal.aborted) {
      try {
        await this.#database.rows(`select triggerfs.watch_workers($1 * interval '1 ms')`, [this.#times.patienceMs]);
      } catch (err) {
        this.#log.debug({ err }, 'workers were not looked at');
      }
      await sleep(this.#times.periodMs, undefined, { signal, ref: false }).catch(() => undefined);
    }
  }
}
