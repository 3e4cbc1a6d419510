import type { Logger } from '../../runtime/logging.ts';
import type { Database } from '../database.ts';
import type { Dispatcher } from './dispatcher.ts';
import type { JobQueue } from './job-queue.ts';
import type { QueueMetrics } from './queue-metrics.ts';
import type { TeamSessions } from './team-sessions.ts';

const TICK_MS = 250;
const TOUCH_MS = 5_000;
const CANCEL_MS = 1_000;
const SWEEP_MS = 5_000;
/** How often lost leases are ended: with the 15 s that they last, within 25 s. */
const LEASES_MS = 10_000;
/** How often when nothing is queued or runs: nine statements each time, and nothing to find but dead rows. */
const REST_MS = 300_000;

/** Options of a caretaker. */
export interface CaretakerOptions {
  readonly database: Database;
  readonly dispatcher: Dispatcher;
  readonly jobs: JobQueue;
  readonly sessions: TeamSessions;
  readonly metrics: QueueMetrics;
  readonly log: Logger;
}

interface Duty {
  readonly everyMs: number;
  /** Also when no item is running. */
  readonly always: boolean;
  readonly work: () => Promise<unknown>;
  dueAt: number;
  busy: boolean;
}

/**
 * What a dispatcher does beside dispatching, each by its own clock: keeps its leases, notes which workers have its runs,
 * hears of cancellations, ends leases that others lost, and looks after items that wait without a job. Only the last two also
 * happen when nothing runs here.
 */
export class Caretaker {
  readonly #options: CaretakerOptions;
  readonly #duties: readonly Duty[];
  #timer: NodeJS.Timeout | null = null;
  /** Items of all dispatchers are queued or running, as far as is known. */
  #open = true;
  #lookedAt = 0;

  constructor(options: CaretakerOptions) {
    this.#options = options;
    const duty = (everyMs: number, always: boolean, work: () => Promise<unknown>): Duty => ({
      everyMs,
      always,
      work,
      dueAt: 0,
      busy: false,
    });
    this.#duties = [
      duty(TOUCH_MS, false, () => this.#touch()),
      duty(TICK_MS, false, () => this.#noteWorkers()),
      duty(CANCEL_MS, false, () => this.#cancel()),
      duty(LEASES_MS, true, () => this.#endLostLeases()),
      duty(SWEEP_MS, true, () => this.#sweep()),
    ];
  }

  /** Begins. */
  start(): void {
    this.#timer ??= setInterval(() => this.#tick(), TICK_MS);
  }

  /** Looks after what waits without a job in so many milliseconds instead of at its next turn. */
  sweepIn(ms: number): void {
    const sweep = this.#duties.at(-1) as Duty;
    sweep.dueAt = Math.min(sweep.dueAt, performance.now() + ms);
  }

  /** Ends. */
  stop(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
  }

  #tick(): void {
    const now = performance.now();
    const idle = this.#options.dispatcher.running.size === 0;
    for (const duty of this.#duties) {
      if (duty.busy || now < duty.dueAt || (idle && !duty.always)) continue;
      duty.busy = true;
      duty.dueAt = now + duty.everyMs;
      duty
        .work()
        .catch((err: unknown) => this.#options.log.debug({ err }, 'the queue waits for the database'))
        .finally(() => {
          duty.busy = false;
        });
    }
  }

  async #touch(): Promise<void> {
    const { jobs, dispatcher } = this.#options;
    await jobs.touch([...dispatcher.running.values()].map(({ job }) => job));
  }

  /** Only of runs that last: most have ended before anybody could ask for their worker. */
  async #noteWorkers(): Promise<void> {
    const news = [...this.#options.dispatcher.running.values()].filter(({ worker, notedWorker }) => worker !== notedWorker);
    if (news.length === 0) return;
    const noted = news.map(({ worker }) => worker);
    await this.#options.database.rows('select triggerfs.queue_started($1, $2, $3)', [
      news.map(({ claim }) => claim.id),
      news.map(({ claim }) => claim.attempt),
      noted,
    ]);
    news.forEach((item, index) => {
      item.notedWorker = noted[index] as string;
    });
  }

  async #cancel(): Promise<void> {
    const { database, dispatcher } = this.#options;
    const rows = await database.rows<{ id: string }>('select id from triggerfs.queue_cancelled($1)', [dispatcher.id]);
    for (const { id } of rows) dispatcher.cancel(id);
  }

  async #endLostLeases(): Promise<void> {
    if (!this.#open && performance.now() - this.#lookedAt < REST_MS) return;
    await this.#options.jobs.endLostLeases();
    this.#lookedAt = performance.now();
  }

  async #sweep(): Promise<void> {
    const { database, dispatcher, sessions, metrics } = this.#options;
    sessions.sweep();
    const [row] = await database.rows<{ queued: string; running: string; dead: string; oldest_ms: string }>(
      'select queued, running, dead, oldest_ms from triggerfs.queue_sweep()',
    );
    if (row === undefined) return;
    for (const state of ['queued', 'running', 'dead'] as const) metrics.items.set({ state }, Number(row[state]));
    metrics.oldest.set(Number(row.oldest_ms) / 1000);
    this.#open = Number(row.queued) + Number(row.running) > 0;
    if (Number(row.queued) > 0) dispatcher.nudge();
  }
}
