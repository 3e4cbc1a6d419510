import { setTimeout as sleep } from 'node:timers/promises';
import { type Runner, run, type TaskList, Logger as WorkerLogger } from 'graphile-worker';
import type { Pool } from 'pg';
import type { Logger } from '../../runtime/logging.ts';
import { CRONTAB } from './tasks.ts';

const RETRY_MS = 5_000;
const STOP_MS = 3_000;

/**
 * Runs the clock's tasks with graphile-worker. Its runner gives up after some seconds without the database,
 * so it is started again until `stop`.
 */
export class Housekeeping {
  readonly #pool: Pool;
  readonly #tasks: TaskList;
  readonly #log: Logger;
  readonly #ending = new AbortController();
  #runner: Runner | null = null;
  #loop: Promise<void> | null = null;

  /** The pool's login must own graphile-worker's tables. */
  constructor(pool: Pool, tasks: TaskList, log: Logger) {
    this.#pool = pool;
    this.#tasks = tasks;
    this.#log = log;
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
    while (!signal.aborted) {
      try {
        this.#runner = await run({
          pgPool: this.#pool,
          taskList: this.#tasks,
          crontab: CRONTAB,
          concurrency: 1,
          noHandleSignals: true,
          logger: new WorkerLogger(() => (_level, message) => this.#log.debug(`housekeeping: ${message}`)),
        });
        if (signal.aborted) await this.#runner.stop();
        await this.#runner.promise;
      } catch (err) {
        if (!signal.aborted) this.#log.warn({ err }, 'housekeeping pauses');
      }
      this.#runner = null;
      await sleep(RETRY_MS, undefined, { signal, ref: false }).catch(() => undefined);
    }
  }
}
