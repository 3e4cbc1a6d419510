import type { Pool } from 'pg';
import type { Logger } from '../../runtime/logging.ts';
import type { Dispatcher } from '../dispatch/dispatcher.ts';

const INTERVAL_MS = 500;

/**
 * Writes what happens often in bulk: which workers are here, and the hits of trigger files. Nothing is written
 * while nothing changes, one statement each otherwise, and a failed write is repeated with what came since.
 */
export class BulkWriter {
  readonly #pool: Pool;
  readonly #brokerId: string;
  readonly #dispatcher: Dispatcher;
  readonly #log: Logger;
  #presenceDirty = true;
  #writing: Promise<void> | null = null;
  #timer: NodeJS.Timeout | null = null;
  #failing = false;

  constructor(pool: Pool, brokerId: string, dispatcher: Dispatcher, log: Logger) {
    this.#pool = pool;
    this.#brokerId = brokerId;
    this.#dispatcher = dispatcher;
    this.#log = log;
  }

  /** Begins to write. */
  start(): void {
    this.#timer = setInterval(() => void this.flush(), INTERVAL_MS);
  }

  /** Writes the last hits, takes this broker's presence away and stops. */
  async stop(): Promise<void> {
    if (this.#timer !== null) clearInterval(this.#timer);
    await this.#writing;
    this.#presenceDirty = false;
    await this.flush();
    try {
      await this.#pool.query('delete from triggerfs.presence where broker_id = $1', [this.#brokerId]);
    } catch (err) {
      this.#log.warn({ err }, 'cannot take back the presence of workers; it ends with the broker’s beat');
    }
  }

  /** The set of connected workers has changed. */
  readonly presenceChanged = (): void => {
    this.#presenceDirty = true;
  };

  /** Writes what has changed since the last time. Never throws. */
  flush(): Promise<void> {
    this.#writing ??= this.#write().finally(() => {
      this.#writing = null;
    });
    return this.#writing;
  }

  async #write(): Promise<void> {
    try {
      if (this.#dispatcher.hits.size > 0) await this.#writeHits();
      if (this.#presenceDirty) await this.#writePresence();
      this.#failing = false;
    } catch (err) {
      if (!this.#failing) this.#log.warn({ err }, 'cannot write presence and hits, trying again');
      this.#failing = true;
    }
  }

  async #writeHits(): Promise<void> {
    const hits = this.#dispatcher.hits;
    this.#dispatcher.hits = new Map();
    try {
      await this.#pool.query(
        `insert into triggerfs.trigger_hits as h (trigger_id, team_id, hits)
         select t.id, t.team_id, n.hits from unnest($1::integer[], $2::bigint[]) as n (id, hits) join triggerfs.triggers t on t.id = n.id
         on conflict (trigger_id) do update set hits = h.hits + excluded.hits, last_hit_at = now()`,
        [[...hits.keys()], [...hits.values()]],
      );
    } catch (error) {
      for (const [trigger, count] of hits) this.#dispatcher.hits.set(trigger, (this.#dispatcher.hits.get(trigger) ?? 0) + count);
      throw error;
    }
  }

  async #writePresence(): Promise<void> {
    this.#presenceDirty = false;
    const workers = [...this.#dispatcher.workers.values()];
    try {
      await this.#pool.query(
        `with here as (
           select n.worker_id, w.team_id, n.concurrency, n.version, string_to_array(n.plugins, ',') as plugins
           from unnest($2::integer[], $3::integer[], $4::text[], $5::text[]) as n (worker_id, concurrency, version, plugins)
           join triggerfs.workers w on w.id = n.worker_id
         ), gone as (
           delete from triggerfs.presence p where p.broker_id = $1 and p.worker_id <> all ($2::integer[])
         )
         insert into triggerfs.presence as p (worker_id, broker_id, team_id, concurrency, version, plugins)
         select worker_id, $1, team_id, concurrency, version, plugins from here
         on conflict (worker_id, broker_id) do update set concurrency = excluded.concurrency, version = excluded.version, plugins = excluded.plugins
         where (p.concurrency, p.version, p.plugins) is distinct from (excluded.concurrency, excluded.version, excluded.plugins)`,
        [
          this.#brokerId,
          workers.map((worker) => worker.id),
          workers.map((worker) => worker.concurrency),
          workers.map((worker) => worker.version),
          workers.map((worker) => [...worker.plugins].join(',')),
        ],
      );
    } catch (error) {
      this.#presenceDirty = true;
      throw error;
    }
  }
}
