import { setTimeout as sleep } from 'node:timers/promises';
import type { Pool } from 'pg';
import { Acceptor } from '../../runtime/acceptance/acceptor.ts';
import type { Logger } from '../../runtime/logging.ts';
import { createPool } from '../../runtime/postgres/pool.ts';
import type { TeamKeys } from '../../runtime/sealing/index.ts';
import { Database } from '../database.ts';
import type { KeyRing } from '../keys/key-ring.ts';
import { Caretaker } from './caretaker.ts';
import { Dispatcher } from './dispatcher.ts';
import { JobQueue } from './job-queue.ts';
import type { QueueMetrics } from './queue-metrics.ts';
import { TeamSessions } from './team-sessions.ts';

const JOB_CONNECTIONS = 2;
const CONNECTIONS = 4;
const RETRY_MS = 2_000;

/** Options of the queue. */
export interface QueueOptions {
  /** Of the database's owner, whose are pg-boss's tables. */
  readonly databaseUrl: string;
  /** The API's connections, for accepting. */
  readonly pool: Pool;
  readonly database: Database;
  readonly keys: KeyRing;
  readonly teamKeys: TeamKeys;
  readonly metrics: QueueMetrics;
  readonly log: Logger;
}

/** The queue of accepted invocations in one control-plane: its door and its dispatcher. */
export class Queue {
  /** Accepts, and tells the dispatcher. */
  readonly acceptor: Acceptor;
  readonly metrics: QueueMetrics;
  readonly #log: Logger;
  readonly #pools: readonly Pool[];
  readonly #jobs: JobQueue;
  readonly #sessions: TeamSessions;
  readonly #dispatcher: Dispatcher;
  readonly #caretaker: Caretaker;
  #starting: Promise<void> | null = null;
  #stopped = false;

  constructor({ databaseUrl: url, pool, database, keys, teamKeys, metrics, log }: QueueOptions) {
    this.#log = log;
    this.metrics = metrics;
    const owner = createPool({ url, max: JOB_CONNECTIONS, name: 'triggerfs-queue-jobs', log });
    const worker = createPool({ url, role: 'triggerfs_jobs', max: CONNECTIONS, name: 'triggerfs-queue', log });
    this.#pools = [owner, worker];
    this.#jobs = new JobQueue(owner, log);
    this.#sessions = new TeamSessions({ database, keys, log });
    const parts = { database: new Database(worker), jobs: this.#jobs, sessions: this.#sessions, metrics, log };
    this.#dispatcher = new Dispatcher({ ...parts, keys: teamKeys, onHold: (ms) => this.#caretaker.sweepIn(ms) });
    this.#caretaker = new Caretaker({ ...parts, dispatcher: this.#dispatcher });
    this.acceptor = new Acceptor({ pool, keys: teamKeys, onAccepted: () => this.nudge() });
  }

  /** Begins to dispatch, in the background. */
  start(): void {
    this.#starting ??= this.#start();
  }

  /** Something was accepted in this process, or may run now. */
  nudge(): void {
    this.#dispatcher.nudge();
  }

  /** Asks for the end of an item's run, if this process has it. */
  cancel(id: string): void {
    this.#dispatcher.cancel(id);
  }

  /** Settles what has ended and leaves what runs to the next dispatcher. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#starting;
    this.#caretaker.stop();
    await this.#dispatcher.stop();
    await this.#sessions.stop();
    await this.#jobs.stop().catch(() => undefined);
    await Promise.all(this.#pools.map((pool) => pool.end()));
  }

  async #start(): Promise<void> {
    while (!this.#stopped) {
      try {
        await this.#jobs.start();
        this.#dispatcher.start();
        this.#caretaker.start();
        return;
      } catch (err) {
        this.#log.warn({ err }, 'the queue cannot start yet');
        await sleep(RETRY_MS);
      }
    }
  }
}
