import { type ChildProcess, spawn } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { TestContext } from 'node:test';
import { loadIdentity } from '../../edge-broker/identity.ts';
import type { BrokerAddress } from '../../protocol/control.ts';
import { masterKeySection } from './master-key.ts';
import { until } from './wait.ts';
import type { World } from './world.ts';

const PROGRAM = join(import.meta.dirname, '..', '..', 'edge-broker', 'bin.ts');

/** A broker in a process of its own, for tests that kill it. It keeps key and port over restarts. */
export class BrokerProcess {
  readonly name: string;
  readonly #folder: string;
  readonly #databaseUrl: string;
  #child: ChildProcess | null = null;
  #port = 0;
  address: BrokerAddress | null = null;

  private constructor(world: World, name: string, databaseUrl: string) {
    this.name = name;
    this.#folder = join(world.folder, name);
    this.#databaseUrl = databaseUrl;
    mkdirSync(this.#folder, { recursive: true });
  }

  /** Starts a broker that ends with the test. */
  static async start(t: TestContext, world: World, name: string, databaseUrl = world.url): Promise<BrokerProcess> {
    const broker = new BrokerProcess(world, name, databaseUrl);
    t.after(() => broker.kill('SIGKILL'));
    await broker.start();
    return broker;
  }

  /** Starts (again). */
  async start(): Promise<void> {
    const config = join(this.#folder, 'triggerfs.toml');
    const key = join(this.#folder, 'broker.key');
    writeFileSync(config, `${masterKeySection()}[broker]\nport = ${this.#port}\ngateway_port = 0\nkeyfile = "${key}"\ndrain = "5s"\n`);
    const child = spawn(process.execPath, [PROGRAM, '-config', config, '-json'], {
      env: { ...process.env, DATABASE_URL: this.#databaseUrl },
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    this.#child = child;
    const lines = createInterface({ input: child.stdout });
    let endpoint: string | null = null;
    lines.on('line', (line) => {
      const event = JSON.parse(line) as { event: string; broker: string };
      if (event.event === 'ready') endpoint = event.broker;
    });
    await until(() => endpoint !== null || child.exitCode !== null, { timeoutMs: 60_000, what: `${this.name} is ready` });
    if (endpoint === null) throw new Error(`${this.name} ended with ${child.exitCode} before it was ready`);
    const ready: string = endpoint;
    this.#port = Number(new URL(ready.replace('tcp:', 'http:')).port);
    const { id, publicKey } = loadIdentity(key);
    this.address = { id, endpoint: ready, publicKey, region: 'default' };
  }

  /** Waits until the process has ended by itself; returns its exit code. */
  async ended(timeoutMs = 10_000): Promise<number | null> {
    const child = this.#child;
    await until(() => child === null || child.exitCode !== null || child.signalCode !== null, { timeoutMs, what: `${this.name} ends` });
    return child?.exitCode ?? null;
  }

  /** Sends a signal and waits for the end of the process; returns its exit code. */
  async kill(signal: NodeJS.Signals): Promise<number | null> {
    const child = this.#child;
    this.#child = null;
    if (child === null || child.exitCode !== null) return child?.exitCode ?? null;
    const ended = new Promise<number | null>((resolve) => child.once('exit', resolve));
    child.kill(signal);
    return ended;
  }
}
