import type { Pool } from 'pg';
import type { HistoryMetrics } from './history-metrics.ts';

const HOUR_MS = 3_600_000;
/** Added up again each time: brokers that were cut off from the database write late. */
const AGAIN_HOURS = 2;
/** At most so many at once, when the task did not run for long. */
const MOST_HOURS = 48;

/** Adds the history up, hour by hour, into a table that is kept longer than the history. */
export class RollUp {
  readonly #pool: Pool;
  readonly #metrics: HistoryMetrics | null;

  /** `metrics`: null for none. */
  constructor(pool: Pool, metrics: HistoryMetrics | null) {
    this.#pool = pool;
    this.#metrics = metrics;
  }

  /** Adds up what is new, and again the last `hours` complete hours. */
  async run(hours = AGAIN_HOURS, now = new Date()): Promise<void> {
    const { rows } = await this.#pool.query<{ until: Date }>('select until from triggerfs.statistics_progress');
    const current = Math.floor(now.getTime() / HOUR_MS) * HOUR_MS;
    const first = Math.min(rows[0]?.until.getTime() ?? current, current - hours * HOUR_MS);
    const last = Math.min(current, first + MOST_HOURS * HOUR_MS);
    for (let hour = first; hour < last; hour += HOUR_MS) {
      const started = performance.now();
      await this.#pool.query('select triggerfs.roll_up_hour($1)', [new Date(hour)]);
      this.#metrics?.addedUp(performance.now() - started);
    }
    await this.#pool.query('select triggerfs.sweep_statistics()');
  }
}
