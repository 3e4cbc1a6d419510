import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { type Broker, startBroker } from '../../edge-broker/broker.ts';
import { parseConfig } from '../../runtime/config/index.ts';
import { silentLogger } from '../../runtime/logging.ts';
import { type Fixture, startFixture } from '../control-plane/fixture.ts';
import { DatabaseProxy } from '../support/database-proxy.ts';
import { lastFirst } from '../support/last-first.ts';
import { masterKeySection } from '../support/master-key.ts';
import { until } from '../support/wait.ts';

const PROGRAM = join(import.meta.dirname, '..', '..', 'worker-agent', 'bin.ts');
const TICK = '#!/bin/sh\necho "$TRIGGERFS_INVOCATION" >> "$TRIGGERFS_ARG_FILE"\necho "tock $(cat)"\n';

/** A row of schedule_fires. Times are milliseconds since 1970. */
export interface Slot {
  readonly due: number;
  readonly outcome: string;
  readonly worker: string | null;
  readonly lateness: number;
  readonly invocation: string | null;
}

/** A control-plane, a broker, and a worker process that reaches both only through proxies, which a test can cut. */
export class ResidentStage {
  readonly fixture: Fixture;
  readonly token: string;
  readonly broker: Broker;
  readonly folder: string;
  readonly #proxies: readonly DatabaseProxy[];
  readonly #config: string;
  #worker: ChildProcess | null = null;

  private constructor(parts: {
    fixture: Fixture;
    token: string;
    broker: Broker;
    folder: string;
    proxies: DatabaseProxy[];
    config: string;
  }) {
    this.fixture = parts.fixture;
    this.token = parts.token;
    this.broker = parts.broker;
    this.folder = parts.folder;
    this.#proxies = parts.proxies;
    this.#config = parts.config;
  }

  /** Starts everything; it ends with the test. */
  static async start(test: Pick<TestContext, 'after'>): Promise<ResidentStage> {
    const t = lastFirst(test);
    const fixture = await startFixture(t);
    const folder = mkdtempSync(join(tmpdir(), 'triggerfs-resident-'));
    t.after(() => rmSync(folder, { recursive: true, force: true }));
    const port = await freePort();
    // `advertise` makes everybody, also the control-plane, reach the broker through the proxy.
    const uplink = await DatabaseProxy.start(t as TestContext, `tcp://127.0.0.1:${port}`);
    const api = await DatabaseProxy.start(t as TestContext, fixture.controlPlane.url);
    const lines = [
      '[broker]',
      `port = ${port}`,
      'gateway_port = 0',
      `keyfile = "${join(folder, 'broker.key')}"`,
      `advertise = "${uplink.url}"`,
    ];
    const broker = await startBroker({
      config: parseConfig(`${masterKeySection()}${lines.join('\n')}\ndrain = "1s"\nsettle = "1ms"\n`, null),
      databaseUrl: fixture.databaseUrl,
      log: silentLogger(),
    });
    t.after(() => broker.stop());
    const token = await fixture.tokenOf('owner');
    const config = await configure(fixture, token, folder, api.url);
    const stage = new ResidentStage({ fixture, token, broker, folder, proxies: [uplink, api], config });
    t.after(() => stage.kill());
    stage.work();
    await until(() => [...broker.dispatcher.workers.values()].some(({ accepting }) => accepting), {
      what: 'the worker is online',
      timeoutMs: 20_000,
    });
    return stage;
  }

  /** Calls the API. @throws Error when it refuses */
  async api<T>(route: string, body?: unknown): Promise<T> {
    const answer = await this.fixture.call(route, { token: this.token, ...(body === undefined ? {} : { body }) });
    if (answer.status >= 400) throw new Error(`${route}: ${answer.body.detail}`);
    return answer.body as T;
  }

  /** Makes a schedule of every second, kept by the worker unless said otherwise. A busy machine that stands still for a second catches up. */
  async schedule(name: string, given: Readonly<Record<string, unknown>> = {}): Promise<void> {
    const args = { file: this.path(name) };
    const rule = {
      cron: '* * * * * *',
      service: 'demo',
      plugin: 'tick/tick',
      payload: name,
      overlap: 'allow',
      catchup: 'all',
      resident: 'rack1',
    };
    await this.api('POST /v1/schedules', { name, args, ...rule, ...given });
  }

  path(name: string): string {
    return join(this.folder, name);
  }

  /** Starts the worker (again). */
  work(): void {
    this.#worker = spawn(process.execPath, [PROGRAM, '-config', this.#config, '-identity', 'rack1'], { stdio: 'ignore' });
  }

  /** Kills the worker with SIGKILL. */
  async kill(): Promise<void> {
    const worker = this.#worker;
    if (worker === null || worker.exitCode !== null || worker.signalCode !== null) return;
    worker.kill('SIGKILL');
    await once(worker, 'exit');
  }

  /** The worker reaches nobody any more: neither a broker nor the control-plane. */
  cut(): void {
    for (const proxy of this.#proxies) proxy.cut();
  }

  heal(): void {
    for (const proxy of this.#proxies) proxy.heal();
  }

  /** Ids of the invocations that were really executed, in order. */
  executions(name: string): string[] {
    return existsSync(this.path(name)) ? readFileSync(this.path(name), 'utf8').trim().split('\n') : [];
  }

  /** Rows of the slots of a schedule, in order. */
  async slots(name: string): Promise<Slot[]> {
    return this.fixture.sql<Slot & Record<string, unknown>>(
      `select extract(epoch from f.due_at)::float8 * 1000 as due, f.outcome, f.worker, f.lateness_ms::integer as lateness, f.invocation_id as invocation
       from triggerfs.schedule_fires f join triggerfs.schedules s on s.id = f.schedule_id where s.name = $1 order by f.due_at`,
      [name],
    );
  }

  /** Waits until so many slots are recorded, the newest of which is not older than three seconds. */
  async recorded(name: string, count: number, timeoutMs = 30_000): Promise<Slot[]> {
    return until(
      async () => {
        const slots = await this.slots(name);
        return slots.length >= count && Date.now() - (slots.at(-1)?.due ?? 0) < 3_000 ? slots : null;
      },
      { what: `${count} slots of ${name}, and the newest`, timeoutMs },
    );
  }
}

/** Makes service and worker, writes the worker's configuration and plugin, and returns the file. */
async function configure(fixture: Fixture, token: string, folder: string, api: string): Promise<string> {
  const made = await fixture.call('POST /v1/workers', { token, body: { identity: 'rack1' } });
  await fixture.call('POST /v1/services', { token, body: { name: 'demo' } });
  await fixture.call('POST /v1/services/demo/workers', { token, body: { worker: 'rack1' } });
  mkdirSync(join(folder, 'plugins', 'tick'), { recursive: true });
  writeFileSync(join(folder, 'plugins', 'tick', 'tick'), TICK);
  chmodSync(join(folder, 'plugins', 'tick', 'tick'), 0o755);
  const file = join(folder, 'triggerfs.toml');
  const lines = [
    '[main]',
    `api = "${api.replace(/\/$/, '')}"`,
    '[workers]',
    'pluginspath = "plugins"',
    'grace = "2s"',
    '[workers.a.rack1]',
  ];
  writeFileSync(file, `${lines.join('\n')}\ntoken = "${made.body.token as unknown as string}"\n`, { mode: 0o600 });
  return file;
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
