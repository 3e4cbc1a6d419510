import type { Pool } from 'pg';
import type { Logger } from '../../runtime/logging.ts';
import { utcDay } from './days.ts';
import type { Partitions } from './partitions.ts';

const DAY_MS = 86_400_000;
/** Invocations that are deleted by one statement, with their runs and output. */
const BATCH = 100;
/** Other housekeeping waits for this one, so what is left after so long is left to the next run. */
const BUDGET_MS = 8_000;

/**
 * Keeps the history of each team for as many days as its plan says. Days that nobody keeps are dropped as partitions; of the others,
 * what belongs to teams that keep less, or that are gone, is deleted in small steps.
 */
export class Retention {
  readonly #pool: Pool;
  readonly #partitions: Partitions;
  readonly #log: Logger;

  /** The pool's login must own the tables. */
  constructor(pool: Pool, partitions: Partitions, log: Logger) {
    this.#pool = pool;
    this.#partitions = partitions;
    this.#log = log;
  }

  /** Drops and deletes what is too old; returns false when there is more to do. */
  async enforce(now = new Date()): Promise<boolean> {
    const end = performance.now() + BUDGET_MS;
    const oldest = utcDay(now.getTime() - (await this.#longest()) * DAY_MS);
    const days = (await this.#partitions.days()).filter((day) => day <= utcDay(now.getTime()));
    for (const day of days) {
      if (performance.now() > end) return false;
      if (day < oldest) {
        await this.#partitions.drop(day);
        this.#log.info({ day }, 'dropped a day of the history');
      } else if (!(await this.#deleteOf(day, end))) return false;
    }
    return true;
  }

  /** Days that the most patient team keeps. */
  async #longest(): Promise<number> {
    const { rows } = await this.#pool.query<{ days: number | null }>('select max(days) as days from triggerfs.history_retention()');
    return rows[0]?.days ?? 1;
  }

  async #deleteOf(day: string, end: number): Promise<boolean> {
    const { rows: teams } = await this.#pool.query<{ team: number }>('select triggerfs.teams_past_retention($1::date) as team', [day]);
    for (const { team } of teams) {
      for (let deleted = BATCH; deleted === BATCH; ) {
        if (performance.now() > end) return false;
        const { rows } = await this.#pool.query<{ deleted: number }>('select triggerfs.delete_history($1, $2::date, $3) as deleted', [
          team,
          day,
          BATCH,
        ]);
        deleted = rows[0]?.deleted ?? 0;
      }
    }
    return true;
  }
}
