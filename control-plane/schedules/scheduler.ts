import type { TaskList } from 'graphile-worker';
import type { Pool } from 'pg';
import type { Logger } from '../../runtime/logging.ts';
import type { Database } from '../database.ts';
import { Housekeeping, type RunnerSetup } from '../jobs/housekeeping.ts';
import { Periodic } from '../jobs/periodic.ts';
import { Batch } from './batch.ts';
import { DatabaseClock } from './clock.ts';
import { Firing } from './firing.ts';
import type { ScheduleMetrics } from './metrics.ts';
import { Planner } from './planner.ts';
import { Timekeeper } from './timekeeper.ts';

/** What a scheduler works with. */
export interface SchedulerOptions {
  /** Of the owner of graphile-worker's tables. */
  readonly jobs: Pool;
  /** Used as `triggerfs_jobs`. */
  readonly database: Database;
  readonly metrics: ScheduleMetrics;
  readonly log: Logger;
  /** Called when something was handed to the queue. */
  readonly onFired: () => void;
  readonly onPool: NonNullable<RunnerSetup['onPool']>;
}

/** Overdue slots are looked for this often. */
const SWEEP_MS = 3_000;
/** A slot is overdue when whoever kept it has not fired it for this long. */
const PATIENCE_S = 2;
const OVERDUE = 2_000;

/**
 * The clock of a control-plane. graphile-worker brings the jobs that lie beside schedules: `schedule.plan` when the rule is new, and
 * `schedule.fire` six seconds before a slot, which goes into a local timer. A sweep takes over what nobody fired, such as the slots of
 * a control-plane that was killed. Any number of these run on one database.
 */
export class Scheduler {
  readonly #options: SchedulerOptions;
  readonly #clock = new DatabaseClock();
  readonly #timekeeper: Timekeeper;
  readonly #runner: Housekeeping;
  readonly #sweeps: Periodic;
  #zonesAdopted = false;

  constructor(options: SchedulerOptions) {
    const { database, jobs, log, metrics, onFired, onPool } = options;
    this.#options = options;
    this.#timekeeper = new Timekeeper({
      clock: this.#clock,
      planner: new Planner(database),
      firing: new Firing(database, this.#clock, log),
      metrics,
      log,
      onFired,
    });
    const turn = (): Promise<void> => this.#sweep();
    this.#sweeps = new Periodic({ everyMs: SWEEP_MS, turn, failure: 'overdue schedules were not looked for', log });
    this.#runner = new Housekeeping(jobs, this.#tasks(), log, {
      name: 'schedules',
      crontab: '',
      onPool,
      options: {
        concurrency: 64,
        // One query brings many jobs. No refetchDelay: what it is told of during the delay waits for the next poll, and new rules for two seconds.
        preset: { worker: { localQueue: { size: 256 }, completeJobBatchDelay: 5, pollInterval: 2_000 } },
      },
    });
  }

  /** Starts in the background. */
  start(): void {
    this.#sweeps.start();
    this.#runner.start();
  }

  /** Hands the slots that are kept here to other control-planes. */
  async stop(): Promise<void> {
    const swept = this.#sweeps.stop();
    const left = await this.#timekeeper.stop();
    if (left.length > 0) {
      const sql = `select triggerfs.add_schedule_jobs('schedule.fire', $1, array_fill(now(), array[cardinality($1)]))`;
      await this.#options.database.rows(sql, [left]).catch(() => undefined);
    }
    await this.#runner.stop();
    await swept;
  }

  #tasks(): TaskList {
    const plans = new Batch((ids) => this.#timekeeper.plan(ids));
    const holds = new Batch((ids) => this.#timekeeper.hold(ids));
    return {
      'schedule.plan': (payload) => plans.add(idOf(payload)),
      'schedule.fire': (payload) => holds.add(idOf(payload)),
    };
  }

  /** Next runs of cron expressions are computed again when this process knows newer rules of time zones than those before. */
  async #adoptZones(): Promise<void> {
    await this.#options.database.rows('select triggerfs.adopt_zones($1)', [process.versions.tz ?? '']);
    this.#zonesAdopted = true;
  }

  async #sweep(): Promise<void> {
    if (!this.#zonesAdopted) await this.#adoptZones();
    const asked = Date.now();
    const [row] = await this.#options.database.rows<{ now: number; ids: number[] }>(
      `select (extract(epoch from clock_timestamp()) * 1000)::float8 as now, array(
         select s.id from triggerfs.schedules s
         where s.next_run_at < now() - $1 * interval '1 s' and s.next_run_at + triggerfs.schedule_offset(s.id, s.jitter) < now() - $1 * interval '1 s'
         order by s.next_run_at limit ${OVERDUE}) as ids`,
      [PATIENCE_S],
    );
    if (row === undefined) return;
    this.#clock.adjust(row.now, asked, Date.now());
    this.#options.metrics.overdue(row.ids.length);
    if (row.ids.length > 0) await this.#timekeeper.hold(row.ids);
  }
}

function idOf(payload: unknown): number {
  return (payload as { readonly id: number }).id;
}
