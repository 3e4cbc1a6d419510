import { chmod, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { ensureDemo } from '../control-plane/bootstrap.ts';
import { readMountTable } from '../fs/mount-table.ts';
import { detach } from '../fs/mountpoint.ts';
import { TriggerFsError } from '../protocol/errors.ts';
import type { Environment } from '../runtime/environment.ts';
import { Lifecycle } from '../runtime/lifecycle.ts';
import type { Logger } from '../runtime/logging.ts';
import { EmbeddedPostgres } from '../runtime/postgres/embedded.ts';
import { FileLock } from '../runtime/sqlite/file-lock.ts';
import { DatabaseGuard } from './database-guard.ts';
import type { ServerOptions } from './options.ts';
import type { Part } from './part.ts';
import { createParts } from './parts.ts';
import { choosePorts } from './ports.ts';
import { Settings } from './settings.ts';

/** Where everything is, once it runs. */
export interface Addresses {
  readonly api: string;
  readonly broker: string;
  readonly gateway: string | null;
  /** Null when nothing is mounted. */
  readonly mountpoint: string | null;
  /** Why nothing is mounted although it was wanted. */
  readonly mountProblem: TriggerFsError | null;
  readonly config: string;
  /** With the password: only for the JSON ready line. */
  readonly database: string;
}

/** What a server needs from its program. */
export interface ServerContext {
  readonly options: ServerOptions;
  readonly env: Environment;
  readonly log: Logger;
  /** Takes lines for the terminal: warnings of the parts. */
  readonly warn: (line: string) => void;
  /** Takes responses of trigger files. */
  readonly print: (line: string) => void;
}

/** Thrown by `start` when `stop` was called meanwhile. */
export class StoppedError extends Error {
  override name = 'StoppedError';
}

/**
 * All of triggerFS on one machine: PostgreSQL, control-plane, broker, worker and fs, each a process of its own,
 * started in this order and stopped in the reverse one.
 */
export class Server {
  readonly #context: ServerContext;
  readonly #lifecycle: Lifecycle;
  readonly #parts: Part[] = [];
  readonly #starting = new Set<Part>();
  #stopping = false;
  #started: Promise<Addresses> | null = null;

  constructor(context: ServerContext) {
    this.#context = context;
    this.#lifecycle = new Lifecycle(context.log);
  }

  /**
   * Starts everything and makes the demo content. A mount that is not possible is no failure.
   * @throws TriggerFsError of the part that did not start, after stopping the others; StoppedError
   */
  start(): Promise<Addresses> {
    this.#started ??= this.#start().catch(async (error: unknown) => {
      await this.#lifecycle.stop();
      throw this.#stopping ? new StoppedError('stopped during the start') : error;
    });
    return this.#started;
  }

  /** Stops everything; during a start, as soon as the step that runs has ended. */
  async stop(): Promise<void> {
    this.#stopping = true;
    await Promise.all([...this.#starting].map((part) => part.stop()));
    await this.#started?.catch(() => undefined);
    await this.#lifecycle.stop();
  }

  /** Ends all processes at once; `stop` must still be called. */
  kill(): void {
    for (const part of this.#parts) part.kill();
  }

  async #start(): Promise<Addresses> {
    const { options, env } = this.#context;
    await prepareFolder(options.dataDir);
    const inUse = `another triggerfs-server is running on ${options.dataDir}`;
    const lock = FileLock.take(join(options.dataDir, 'server.lock'), { inUse, waitMs: 0 });
    this.#lifecycle.add('lock', () => lock.release());
    const settings = Settings.read(options.dataDir, env);
    await this.#saveSettings(settings);
    const database = options.databaseUrl || settings.config['control-plane'].database || (await this.#startDatabase());
    const parts = createParts({
      dataDir: options.dataDir,
      logFolder: join(options.dataDir, 'logs'),
      configFile: settings.file,
      databaseUrl: database,
      warn: this.#context.warn,
      print: this.#context.print,
    });
    const { url } = await this.#startPart('control-plane', parts.controlPlane);
    this.#proceed();
    await ensureDemo({ databaseUrl: database, ...settings.demo, logFile: join(options.dataDir, 'demo.log') });
    const { broker, gateway } = await this.#startPart('broker', parts.broker);
    // The worker first, so that the mount ends before it.
    const worker = this.#startPart('worker', parts.worker);
    const [mount] = await Promise.all([options.mountpoint === null ? null : this.#mount(parts.fs, options.mountpoint), worker]);
    return {
      api: String(url),
      broker: String(broker),
      gateway: typeof gateway === 'string' ? gateway : null,
      mountpoint: mount instanceof TriggerFsError ? null : mount,
      mountProblem: mount instanceof TriggerFsError ? mount : null,
      config: settings.file,
      database,
    };
  }

  async #saveSettings(settings: Settings): Promise<void> {
    const { ports, mountpoint } = this.#context.options;
    const { 'control-plane': api, broker } = settings.config;
    const { kept } = settings;
    const chosen = await choosePorts([
      { name: 'api', host: api.host, asked: ports.api, configured: api.port, kept },
      { name: 'broker', host: broker.host, asked: ports.broker, configured: broker.port, kept },
      { name: 'gateway', host: broker.gateway_host, asked: ports.gateway, configured: broker.gateway_port, kept },
    ]);
    await settings.save({ ports: chosen, mountpoint });
  }

  async #startDatabase(): Promise<string> {
    const { options, log } = this.#context;
    this.#proceed();
    const postgres = await EmbeddedPostgres.start({ dataDir: join(options.dataDir, 'postgres'), port: 0, log });
    this.#lifecycle.add('PostgreSQL', () => postgres.stop());
    const guard = new DatabaseGuard(postgres, this.#context.warn);
    this.#lifecycle.add('guard of PostgreSQL', () => guard.stop());
    guard.start();
    return postgres.url;
  }

  async #startPart(name: string, part: Part): Promise<Readonly<Record<string, unknown>>> {
    this.#proceed();
    this.#parts.push(part);
    this.#lifecycle.add(name, () => part.stop());
    this.#starting.add(part);
    try {
      return await part.start();
    } finally {
      this.#starting.delete(part);
    }
  }

  /** Mounts the trigger files; everything else works without them. */
  async #mount(fs: Part, wanted: string): Promise<string | TriggerFsError> {
    this.#lifecycle.add('mount', () => detachLeftOver(wanted));
    try {
      const { mountpoint } = await this.#startPart('fs', fs);
      return String(mountpoint);
    } catch (error) {
      return TriggerFsError.from(error);
    }
  }

  #proceed(): void {
    if (this.#stopping) throw new StoppedError('stopped during the start');
  }
}

/** A mounting process that had to be killed leaves its mount behind, and everybody who looks at it would get an error. */
async function detachLeftOver(mountpoint: string): Promise<void> {
  const left = readMountTable().some((entry) => entry.mountpoint === mountpoint && entry.source === 'triggerfs');
  if (left) await detach(mountpoint);
}

/** PostgreSQL runs as another user when this is root, and must be able to pass through the folder. */
async function prepareFolder(folder: string): Promise<void> {
  try {
    await mkdir(join(folder, 'logs'), { recursive: true });
    await chmod(folder, process.getuid?.() === 0 ? 0o711 : 0o700);
    await chmod(join(folder, 'logs'), 0o700);
  } catch (cause) {
    throw new TriggerFsError('TFS_CONFIG', `cannot use the data folder ${folder}: ${(cause as Error).message}`, { cause });
  }
}
