import type { Logger } from '../../runtime/logging.ts';
import type { Database } from '../database.ts';
import { Periodic } from '../jobs/periodic.ts';

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
  readonly #looks: Periodic;

  /** The database is used as `triggerfs_jobs`. */
  constructor(database: Database, log: Logger, { periodMs, patienceMs }: WatchTimes = TIMES) {
    const turn = async (): Promise<void> => {
      await database.rows(`select triggerfs.watch_workers($1 * interval '1 ms')`, [patienceMs]);
    };
    this.#looks = new Periodic({ everyMs: periodMs, turn, failure: 'workers were not looked at', log });
  }

  /** Starts in the background. */
  start(): void {
    this.#looks.start();
  }

  /** Waits for a look that is under way. */
  stop(): Promise<void> {
    return this.#looks.stop();
  }
}
