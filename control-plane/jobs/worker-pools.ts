import type { Logger } from '../../runtime/logging.ts';
import type { Database } from '../database.ts';
import { Periodic } from './periodic.ts';

const BEAT_MS = 10_000;
/** A pool that did not beat for this long is dead, and its jobs are free. Three beats. */
const SILENCE_S = 30;

/**
 * Tells the other control-planes that graphile-worker's pools of this process live, and frees the jobs of pools that do not:
 * graphile-worker itself would keep them locked for four hours.
 */
export class WorkerPools {
  readonly #database: Database;
  readonly #log: Logger;
  readonly #pools = new Set<string>();
  readonly #beats: Periodic;

  /** The database is used as `triggerfs_jobs`. */
  constructor(database: Database, log: Logger) {
    this.#database = database;
    this.#log = log;
    this.#beats = new Periodic({ everyMs: BEAT_MS, turn: () => this.#beat(), failure: 'pools of workers did not beat', log });
  }

  /** Notes that a pool is there, or no more. A new pool beats before it can have locked anything for long. */
  note(poolId: string, alive: boolean): void {
    if (alive) this.#pools.add(poolId);
    else this.#pools.delete(poolId);
    this.#beats.hurry();
  }

  /** Starts in the background. */
  start(): void {
    this.#beats.start();
  }

  /** Waits for a beat that is under way. */
  stop(): Promise<void> {
    return this.#beats.stop();
  }

  async #beat(): Promise<void> {
    const sql = `select triggerfs.beat_worker_pools($1, $2 * interval '1 s') as dead`;
    const [row] = await this.#database.rows<{ dead: number }>(sql, [[...this.#pools], SILENCE_S]);
    if (row !== undefined && row.dead > 0) this.#log.warn({ pools: row.dead }, 'freed the jobs of dead control-planes');
  }
}
