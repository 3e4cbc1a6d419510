import type { AddressInfo } from 'node:net';
import { Registry } from 'prom-client';
import { migrate } from '../migrations/runner.ts';
import { TriggerFsError } from '../protocol/errors.ts';
import { type Config, configPath } from '../runtime/config/index.ts';
import { Lifecycle, type Stoppable } from '../runtime/lifecycle.ts';
import type { Logger } from '../runtime/logging.ts';
import { createPool } from '../runtime/postgres/pool.ts';
import { MasterKey, TeamKeys } from '../runtime/sealing/index.ts';
import { buildApp } from './app.ts';
import { FairQueue } from './auth/fair-queue.ts';
import { Sessions } from './auth/sessions.ts';
import { Commits } from './configuration/commits.ts';
import { ConfirmationSweeper } from './configuration/sweeper.ts';
import type { App } from './context.ts';
import { Database } from './database.ts';
import { Metrics } from './health/metrics.ts';
import { historyTasks } from './history/care.ts';
import { HistoryMetrics } from './history/history-metrics.ts';
import type { RouteInfo } from './http/guard.ts';
import { HOUSEKEEPING, Housekeeping } from './jobs/housekeeping.ts';
import { taskList } from './jobs/tasks.ts';
import { WorkerPools } from './jobs/worker-pools.ts';
import { KeyRing } from './keys/key-ring.ts';
import { type WatchTimes, WorkerWatch } from './mailbox/worker-watch.ts';
import { Mailer, type OutgoingMail } from './people/mailer.ts';
import { Postman } from './people/postman.ts';
import { callbackTask } from './queue/callbacks.ts';
import { Queue } from './queue/queue.ts';
import { QueueMetrics } from './queue/queue-metrics.ts';
import { ScheduleMetrics } from './schedules/metrics.ts';
import { Scheduler } from './schedules/scheduler.ts';

/** Options of `startControlPlane`. */
export interface ControlPlaneOptions {
  readonly config: Config;
  /** PostgreSQL, as a login that owns the database or may become its roles. */
  readonly databaseUrl: string;
  readonly log: Logger;
  /** Default: `[control-plane] host`. */
  readonly host?: string;
  /** Default: `[control-plane] port`; 0 takes a free one. */
  readonly port?: number;
  /** Takes mails when no mail server is configured, beside the log. */
  readonly unsent?: (mail: OutgoingMail) => void;
  /** bcrypt cost of new passwords, default 12. Only tests lower it. */
  readonly passwordCost?: number;
  /** Requests per second and client address, averaged over a minute. Default 100. */
  readonly requestsPerSecond?: number;
  /** How patient teams are with workers that are away. Only tests shorten it. */
  readonly workerWatch?: WatchTimes;
}

/** A running control-plane. */
export interface ControlPlane extends Stoppable {
  /** Address of the API, such as `http://127.0.0.1:8642`. */
  readonly url: string;
  /** Every route with its policy. */
  readonly routes: readonly RouteInfo[];
}

const PASSWORD_COST = 12;
const REQUESTS_PER_SECOND = 100;
const CONNECTIONS = 10;
const LOGIN_CONNECTIONS = 2;
/** How long a check may wait for its turn, below what clients and connections wait. */
const HASH_WAIT_MS = 5_000;
/** How many may wait from one address. */
const LOGINS_PER_ADDRESS = 60;
/** Callbacks at once. They are announced, so that polling is only for retries. */
const CALLBACKS = 3;
const CALLBACK_POLL_MS = 10_000;
/** Detaching a partition waits for transactions that began before; adding up an hour may take long too. */
const HISTORY_STATEMENT_MS = 120_000;
/** Password checks take a quarter of a second each, so those that come together wait for a connection longer than others. */
const LOGIN_WAIT_MS = 8_000;

/**
 * Migrates the database and serves the API. Several control-planes may run on one database.
 * @throws TriggerFsError TFS_UNAVAILABLE (database), TFS_DATABASE_NEWER, TFS_MIGRATION, TFS_CONFIG (address in use)
 */
export async function startControlPlane(options: ControlPlaneOptions): Promise<ControlPlane> {
  const { config, databaseUrl: url, log } = options;
  const lifecycle = new Lifecycle(log);
  try {
    await migrate({ url });
    const pool = createPool({ url, role: 'triggerfs_app', max: CONNECTIONS, name: 'triggerfs-control-plane', log });
    lifecycle.add('database', () => pool.end());
    const loginPool = createPool({
      url,
      role: 'triggerfs_app',
      max: LOGIN_CONNECTIONS,
      name: 'triggerfs-login',
      log,
      connectTimeoutMs: LOGIN_WAIT_MS,
    });
    lifecycle.add('login database', () => loginPool.end());
    const database = new Database(pool);
    const sweeper = new ConfirmationSweeper(new Commits(database), log);
    lifecycle.add('confirmations', () => sweeper.stop());
    const keys = new KeyRing(database, log);
    lifecycle.add('keys', () => keys.stop());
    await keys.start();
    await database.rows('select triggerfs.make_history_partitions()');
    const teamKeys = new TeamKeys(pool, await MasterKey.load(configPath(config, config.main.masterkey), pool));
    const rewrapped = await teamKeys.rewrap();
    if (rewrapped > 0) log.info(`${rewrapped} data key(s) are wrapped with the new master key now`);
    const metrics = config['control-plane'].metrics ? new Metrics(pool) : null;
    const mailer = new Mailer({ section: config.mail, log, ...(options.unsent === undefined ? {} : { unsent: options.unsent }) });
    lifecycle.add('mailer', () => mailer.stop());
    const historyMetrics = metrics === null ? null : new HistoryMetrics(metrics.registry);
    const queueMetrics = new QueueMetrics(metrics?.registry ?? null);
    const queue = new Queue({ databaseUrl: url, pool, database, keys, teamKeys, metrics: queueMetrics, log });
    lifecycle.add('queue', () => queue.stop());
    const { app, routes } = await buildApp({
      database,
      logins: new Database(loginPool),
      hashing: new FairQueue({ concurrency: LOGIN_CONNECTIONS, perKey: LOGINS_PER_ADDRESS, waitMs: HASH_WAIT_MS }),
      keys,
      teamKeys,
      sessions: new Sessions(database, keys),
      mailer,
      queue,
      signup: config['control-plane'].signup,
      metrics,
      historyMetrics,
      log,
      passwordCost: options.passwordCost ?? PASSWORD_COST,
      requestsPerSecond: options.requestsPerSecond ?? REQUESTS_PER_SECOND,
      proxies: config['control-plane'].proxies,
    });
    lifecycle.add('HTTP', () => app.close());
    const host = options.host ?? config['control-plane'].host;
    await listen(app, host, options.port ?? config['control-plane'].port);
    const workerPools = startHousekeeping(lifecycle, options, { keys, mailer, historyMetrics });
    startScheduler(lifecycle, options, metrics, workerPools, queue);
    startCallbacks(lifecycle, options, teamKeys, workerPools);
    queue.start();
    sweeper.start();
    const { port } = app.server.address() as AddressInfo;
    return { routes, url: `http://${host.includes(':') ? `[${host}]` : host}:${port}`, stop: () => lifecycle.stop() };
  } catch (error) {
    await lifecycle.stop();
    throw error;
  }
}

function startHousekeeping(
  lifecycle: Lifecycle,
  options: ControlPlaneOptions,
  { keys, mailer, historyMetrics }: { keys: KeyRing; mailer: Mailer; historyMetrics: HistoryMetrics | null },
): WorkerPools {
  const { databaseUrl: url, log } = options;
  const owner = createPool({ url, max: 3, name: 'triggerfs-housekeeping', log });
  lifecycle.add('housekeeping database', () => owner.end());
  const jobs = createPool({ url, role: 'triggerfs_jobs', max: 2, name: 'triggerfs-jobs', log });
  lifecycle.add('jobs database', () => jobs.end());
  const workerPools = new WorkerPools(new Database(jobs), log);
  lifecycle.add('worker pools', () => workerPools.stop());
  const watch = new WorkerWatch(new Database(jobs), log, options.workerWatch);
  lifecycle.add('worker watch', () => watch.stop());
  watch.start();
  const postman = new Postman(new Database(jobs), mailer, log);
  lifecycle.add('postman', () => postman.stop());
  const care = createPool({ url, max: 1, name: 'triggerfs-history', log, statementTimeoutMs: HISTORY_STATEMENT_MS });
  lifecycle.add('history database', () => care.end());
  const tasks = { ...taskList(new Database(jobs), keys), ...historyTasks(care, log, historyMetrics), send_mail: postman.task };
  const housekeeping = new Housekeeping(owner, tasks, log, {
    ...HOUSEKEEPING,
    onPool: (id, alive) => workerPools.note(id, alive),
  });
  lifecycle.add('housekeeping', () => housekeeping.stop());
  housekeeping.start();
  workerPools.start();
  return workerPools;
}

/** Has connections of its own: housekeeping that takes long must not make slots late. */
function startScheduler(
  lifecycle: Lifecycle,
  { databaseUrl: url, log }: ControlPlaneOptions,
  metrics: Metrics | null,
  workerPools: WorkerPools,
  queue: Queue,
): void {
  const jobs = createPool({ url, max: 3, name: 'triggerfs-schedule-jobs', log });
  lifecycle.add('schedule jobs database', () => jobs.end());
  const pool = createPool({ url, role: 'triggerfs_jobs', max: 3, name: 'triggerfs-scheduler', log });
  lifecycle.add('scheduler database', () => pool.end());
  const scheduler = new Scheduler({
    jobs,
    database: new Database(pool),
    metrics: new ScheduleMetrics(metrics?.registry ?? new Registry()),
    log,
    onFired: () => queue.nudge(),
    onPool: (id, alive) => workerPools.note(id, alive),
  });
  lifecycle.add('scheduler', () => scheduler.stop());
  scheduler.start();
}

/** Results are posted by a runner of their own: a host that answers slowly must not hold up housekeeping. */
function startCallbacks(
  lifecycle: Lifecycle,
  { databaseUrl: url, config, log }: ControlPlaneOptions,
  keys: TeamKeys,
  workerPools: WorkerPools,
): void {
  const owner = createPool({ url, max: 3, name: 'triggerfs-callbacks', log });
  lifecycle.add('callbacks database', () => owner.end());
  const pool = createPool({ url, role: 'triggerfs_jobs', max: 2, name: 'triggerfs-callback-jobs', log });
  lifecycle.add('callback jobs database', () => pool.end());
  const allowed = config['control-plane'].callbacks.split(',').map((host) => host.trim());
  const task = callbackTask({ database: new Database(pool), keys, allowed, log });
  const runner = new Housekeeping(owner, { queue_callback: task }, log, {
    name: 'callbacks',
    crontab: '',
    // With a local queue one query asks for all of them.
    options: { concurrency: CALLBACKS, preset: { worker: { localQueue: { size: CALLBACKS }, pollInterval: CALLBACK_POLL_MS } } },
    onPool: (id, alive) => workerPools.note(id, alive),
  });
  lifecycle.add('callbacks', () => runner.stop());
  runner.start();
}

async function listen(app: App, host: string, port: number): Promise<void> {
  try {
    await app.listen({ host, port });
  } catch (cause) {
    throw new TriggerFsError('TFS_CONFIG', `cannot listen on ${host}:${port}: ${(cause as Error).message}`, { cause });
  }
}
