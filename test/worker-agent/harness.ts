import { type ChildProcess, spawn } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { curveKeyPair } from 'zeromq';
import type { BrokerAddress } from '../../protocol/control.ts';
import { childEnvironment } from '../../runtime/environment.ts';
import { until } from '../support/wait.ts';
import { FakeBroker } from './fake-broker.ts';

const ROOT = join(import.meta.dirname, '..', '..');

/** The control-plane's part in a worker's life: it answers logins. */
export class FakeApi {
  brokers: BrokerAddress[] = [];
  /** Status to answer with instead of a session. */
  failure: { status: number; code: string } | null = null;
  logins = 0;
  readonly #keys = curveKeyPair();
  readonly #server: Server;

  constructor() {
    this.#server = createServer((request, response) => {
      request.resume();
      this.logins += 1;
      response.setHeader('content-type', 'application/json');
      if (this.failure === null) response.end(JSON.stringify(this.#session()));
      else
        response.writeHead(this.failure.status).end(JSON.stringify({ code: this.failure.code, detail: 'no', status: this.failure.status }));
    });
  }

  async start(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  stop(): void {
    this.#server.close();
    this.#server.closeAllConnections();
  }

  #session(): unknown {
    const expiresAt = Math.floor(Date.now() / 1000) + 3600;
    const common = { apiToken: 'api', edgeToken: 'edge', expiresAt, team: 'team1', identity: 'demo01', role: 'worker' };
    return { ...common, channelKey: this.#keys, brokers: this.brokers };
  }
}

/** Options of `startRig`. */
export interface RigOptions {
  /** Lines of the [workers] section. */
  readonly workers?: readonly string[];
  /** Plugins to write: path below the plugins' folder, and text (executable unless the name ends in .json or .ts). */
  readonly plugins?: Readonly<Record<string, string>>;
  readonly brokers?: number;
  readonly arguments?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  /** Do not wait for the worker to connect. */
  readonly lazy?: boolean;
}

/** A worker process, its brokers and its control-plane. */
export class Rig {
  readonly folder: string = mkdtempSync(join(tmpdir(), 'triggerfs-test-'));
  readonly api = new FakeApi();
  readonly brokers: FakeBroker[] = [];
  log = '';
  exit: { code: number | null; signal: string | null } | null = null;
  #worker: ChildProcess | null = null;
  #spawn: () => ChildProcess = () => {
    throw new Error('the rig was not started');
  };

  get broker(): FakeBroker {
    return this.brokers[0] as FakeBroker;
  }

  get worker(): ChildProcess {
    return this.#worker as ChildProcess;
  }

  get pid(): number {
    return this.worker.pid as number;
  }

  path(...parts: string[]): string {
    return join(this.folder, ...parts);
  }

  /** Writes a plugin below the plugins' folder of this rig. */
  plugin(path: string, text: string): void {
    const file = this.path('plugins', path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, text);
    if (!/\.(json|ts)$/.test(path)) chmodSync(file, 0o755);
  }

  async addBroker(): Promise<FakeBroker> {
    const broker = new FakeBroker(`fake${this.brokers.length}`);
    await broker.start();
    this.brokers.push(broker);
    this.api.brokers.push(broker.address);
    return broker;
  }

  async start(options: RigOptions): Promise<void> {
    await this.api.start();
    for (let i = 0; i < (options.brokers ?? 1); i += 1) await this.addBroker();
    for (const [path, text] of Object.entries(options.plugins ?? {})) this.plugin(path, text);
    const workers = [...(options.plugins === undefined ? [] : ['pluginspath = "plugins"']), ...(options.workers ?? [])];
    const lines = ['[main]', `api = "${this.api.url}"`, '[workers]', ...workers, '[workers.team1.demo01]', 'token = "t"'];
    writeFileSync(this.path('triggerfs.toml'), `${lines.join('\n')}\n`);
    const argv = [
      join(ROOT, 'worker-agent', 'bin.ts'),
      '-config',
      this.path('triggerfs.toml'),
      '-identity',
      'demo01',
      ...(options.arguments ?? []),
    ];
    this.#spawn = () =>
      spawn(process.execPath, argv, { stdio: ['ignore', 'pipe', 'pipe'], env: childEnvironment(options.environment ?? {}) });
    this.respawn();
    if (options.lazy !== true) await this.connected();
  }

  /** Starts the worker (again), after it has ended. */
  respawn(): void {
    this.exit = null;
    this.#worker = this.#spawn();
    this.#worker.stderr?.on('data', (data: Buffer) => {
      this.log += data.toString();
    });
    this.#worker.on('exit', (code, signal) => {
      this.exit = { code, signal };
    });
  }

  /** Waits until the worker has logged something: its words come by a pipe, later than what it sends. */
  logged(pattern: RegExp): Promise<unknown> {
    return until(() => pattern.test(this.log), { what: `${pattern} in the log` });
  }

  /** Kills the worker with SIGKILL and waits for its end. */
  async kill(): Promise<void> {
    this.worker.kill('SIGKILL');
    await until(() => this.exit !== null, { what: 'the worker to be gone' });
  }

  async connected(): Promise<void> {
    await until(() => this.brokers.every((broker) => broker.connected) || this.exit !== null, {
      what: 'the worker to announce itself',
      timeoutMs: 15_000,
    });
    if (this.exit !== null) throw new Error(`the worker ended: ${this.log}`);
  }

  async stop(): Promise<void> {
    if (this.exit === null && this.#worker !== null) {
      this.#worker.kill('SIGTERM');
      await until(() => this.exit !== null, { what: 'the worker to stop', timeoutMs: 20_000 }).catch(() => this.#worker?.kill('SIGKILL'));
    }
    for (const broker of this.brokers) broker.kill();
    this.api.stop();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Starts a worker with everything around it. */
export async function startRig(options: RigOptions = {}): Promise<Rig> {
  const rig = new Rig();
  try {
    await rig.start(options);
    return rig;
  } catch (error) {
    await rig.stop();
    throw error;
  }
}

/** Whether a process exists. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
