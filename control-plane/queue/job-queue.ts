import type { Pool } from 'pg';
import { PgBoss } from 'pg-boss';
import type { Logger } from '../../runtime/logging.ts';

/** The one queue of pg-boss; `migrations/0018_queue.sql` makes it. */
const QUEUE = 'invocations';
/** At most one control-plane looks after the leases in this time; a bit less than the time between looks, so that no look is in vain. */
const MONITOR_S = 9;

/** A fetched job: the lease on one item. */
export interface Job {
  /** Id of the item. */
  readonly id: string;
  /** Rises when the lease was lost; fences what an earlier holder says. */
  readonly retryCount: number;
}

/**
 * pg-boss, as far as it is used: it hands each job to one dispatcher, and hands it out again when that one falls silent.
 * Jobs are inserted and deleted by our own SQL, in the transaction that changes their item.
 */
export class JobQueue {
  readonly #boss: PgBoss;

  /** The pool's login must own pg-boss's tables. */
  constructor(pool: Pool, log: Logger) {
    this.#boss = new PgBoss({
      db: {
        executeSql: async (text, values) => {
          // Several statements at once go only without values.
          const given = values as unknown[] | undefined;
          return given === undefined || given.length === 0 ? pool.query(text) : pool.query(text, given);
        },
      },
      migrate: false,
      createSchema: false,
      schedule: false,
      supervise: false,
      monitorIntervalSeconds: MONITOR_S,
    });
    this.#boss.on('error', (err) => log.warn({ err }, 'the queue pauses'));
    this.#boss.on('warning', (warning) => log.debug({ warning }, 'queue'));
  }

  /** @throws Error without the database */
  async start(): Promise<void> {
    await this.#boss.start();
  }

  /** Ends the leases of dispatchers that have been silent for 15 s (the queue’s heartbeat). */
  async endLostLeases(): Promise<void> {
    await this.#boss.supervise(QUEUE);
  }

  /** Takes up to `limit` jobs that are due, those with the highest priority first. */
  async fetch(limit: number): Promise<readonly Job[]> {
    const jobs = await this.#boss.fetch(QUEUE, { batchSize: limit });
    return jobs.map(({ id, retryCount }) => ({ id, retryCount }));
  }

  /** Keeps the leases. */
  async touch(jobs: readonly Job[]): Promise<void> {
    if (jobs.length > 0) await this.#boss.touch(QUEUE, [...jobs]);
  }

  /** Gives the leases back: another dispatcher takes them at once. */
  async giveBack(jobs: readonly Job[]): Promise<void> {
    if (jobs.length > 0) await this.#boss.fail(QUEUE, [...jobs]);
  }

  /** Ends what is under way. */
  async stop(): Promise<void> {
    await this.#boss.stop({ graceful: false, close: false });
  }
}
