import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from '../../runtime/logging.ts';
import type { Database } from '../database.ts';

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
  readonly #ending = new AbortController();
  #news = Promise.withResolvers<void>();
  #loop: Promise<void> | null = null;

  /** The database is used as `triggerfs_jobs`. */
  constructor(database: Database, log: Logger) {
    this.#database = database;
    this.#log = log;
  }

  /** Notes that a pool is there, or no more. */
  note(poolId: string, alive: boolean): void {
    if (alive) this.#pools.add(poolId);
    else this.#pools.delete(poolId);
    this.#news.resolve();
  }

  /** Starts in the background. */
  start(): void {
    this.#loop ??= this.#run();
  }

  /** Waits for a beat that is under way. */
  async stop(): Promise<void> {
    this.#ending.abort();
    await this.#loop;
  }

  async #run(): Promise<void> {
    const { signal } = this.#ending;
    while (!signal.aborted) {
      this.#news = Promise.withResolvers<void>();
      try {
        const sql = `select triggerfs.beat_worker_pools($1, $2 * interval '1 s') as dead`;
        const [row] = await this.#database.rows<{ dead: number }>(sql, [[...this.#pools], SILENCE_S]);
        if (row !== undefined && row.dead > 0) this.#log.warn({ pools: row.dead }, 'freed the jobs of dead control-planes');
      } catch (err) {
        this.#log.debug({ err }, 'pools of workers did not beat');
      }
      // A new pool beats before it can have locked anything for long.
      await Promise.race([this.#news.promise, sleep(BEAT_MS, undefined, { signal, ref: false }).catch(() => undefined)]);
    }
  }
}
