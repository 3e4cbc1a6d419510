import { EventEmitter } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Runner, type RunnerOptions, run, type TaskList, type WorkerEvents, Logger as WorkerLogger } from 'graphile-worker';
import type { Pool } from 'pg';
import type { Logger } from '../../runtime/logging.ts';
import { CRONTAB } from './tasks.ts';

const RETRY_MS = 5_000;
const STOP_MS = 3_000;
/** New jobs and those of the clock are announced: only repetitions wait for a look. */
const POLL_MS = 5_000;

/** How a runner of graphile-worker is set up. */
export interface RunnerSetup {
  /** For the log. */
  readonly name: string;
  /** Its own clock, in UTC; empty: only jobs from the database. */
  readonly crontab: string;
  readonly options: Pick<RunnerOptions, 'concurrency' | 'preset'>;
  /** Is told the id of each pool that is made, and when it is no more. */
  readonly onPool?: (poolId: string, alive: boolean) => void;
}

/** The runner of the control-plane's own tasks: one after another. */
export const HOUSEKEEPING: RunnerSetup = {
  name: 'housekeeping',
  crontab: CRONTAB,
  options: { concurrency: 1, preset: { worker: { pollInterval: POLL_MS } } },
};

/**
 * Runs the clock's tasks with graphile-worker. Its runner gives up after some seconds without the database,
 * so it is started again until `stop`.
 */
export class Housekeeping {
  readonly #pool: Pool;
  readonly #tasks: TaskList;
  readonly #log: Logger;
  readonly #setup: RunnerSetup;
  readonly #ending = new AbortController();
  #runner: Runner | null = null;
  #loop: Promise<void> | null = null;

  /** The pool's login must own graphile-worker's tables. */
  constructor(pool: Pool, tasks: TaskList, log: Logger, setup: RunnerSetup = HOUSEKEEPING) {
    this.#pool = pool;
    this.#tasks = tasks;
    this.#log = log;
    this.#setup = setup;
  }

  /** Starts in the background. */
  start(): void {
    this.#loop ??= this.#run();
  }

  /** Waits for running tasks, at most three seconds. */
  async stop(): Promise<void> {
    this.#ending.abort();
    const stopped = this.#runner?.stop().catch(() => undefined);
    await Promise.race([Promise.all([stopped, this.#loop]), sleep(STOP_MS, undefined, { ref: false })]);
  }

  async #run(): Promise<void> {
    const { signal } = this.#ending;
    const { name, crontab, options } = this.#setup;
    while (!signal.aborted) {
      const pools = new Set<string>();
      try {
        this.#runner = await run({
          pgPool: this.#pool,
          taskList: this.#tasks,
          crontab,
          ...options,
          events: this.#watch(pools),
          noHandleSignals: true,
          logger: new WorkerLogger(() => (_level, message) => this.#log.debug(`${name}: ${message}`)),
        });
        if (signal.aborted) await this.#runner.stop();
        await this.#runner.promise;
      } catch (err) {
        if (!signal.aborted) this.#log.warn({ err }, `${name} pauses`);
      }
      for (const id of pools) this.#setup.onPool?.(id, false);
      this.#runner = null;
      await sleep(RETRY_MS, undefined, { signal, ref: false }).catch(() => undefined);
    }
  }

  #watch(pools: Set<string>): WorkerEvents {
    const events: WorkerEvents = new EventEmitter();
    events.on('pool:create', ({ workerPool: { id } }) => {
      pools.add(id);
      this.#setup.onPool?.(id, true);
    });
    return events;
  }
}
