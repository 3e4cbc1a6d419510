import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { packageRoot } from '../../runtime/package-root.ts';
import { codeCache } from '../support/code-cache.ts';
import { FakeApi } from './fake-api.ts';
import { FakeBroker } from './fake-broker.ts';
import { fakeLogin } from './support.ts';

/** How `triggerfs-client` ended. */
export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A running `triggerfs-client`. */
export interface Running {
  readonly child: ChildProcess;
  readonly ended: Promise<Ended>;
  /** What it has printed so far. */
  readonly printed: { stdout: string; stderr: string };
}

/** What a run of the program is given. */
export interface RunOptions {
  /** Standard input; a TTY-less empty one when absent. */
  readonly input?: string | Buffer;
  readonly env?: Readonly<Record<string, string>>;
}

/** A folder with a triggerfs.toml, a fake control-plane and a fake broker, for running the program as people do. */
export class Stage {
  readonly folder: string;
  readonly broker: FakeBroker;
  readonly api: FakeApi;

  private constructor(folder: string, broker: FakeBroker, api: FakeApi) {
    this.folder = folder;
    this.broker = broker;
    this.api = api;
  }

  static async set(t: TestContext): Promise<Stage> {
    const broker = await FakeBroker.start();
    const login = fakeLogin([broker.address]);
    const api = await FakeApi.start(() => ({ ...login, expiresAt: Math.floor(Date.now() / 1000) + 600 }));
    const folder = await mkdtemp(join(tmpdir(), 'triggerfs-client-test-'));
    const stage = new Stage(folder, broker, api);
    await stage.configure();
    t.after(async () => {
      broker.kill();
      await api.stop();
      await rm(folder, { recursive: true, force: true });
    });
    return stage;
  }

  /** The configuration file. */
  get config(): string {
    return join(this.folder, 'triggerfs.toml');
  }

  /** Writes the configuration, with more lines at its end. */
  async configure(more = ''): Promise<void> {
    const main = `[main]\napi = "${this.api.url}"\nteam = "demo"\nidentity = "demo"\nsecret = "wonderland"\n`;
    await writeFile(this.config, `${main}${more}`);
  }

  /** Starts the program. */
  start(args: readonly string[], options: RunOptions = {}): Running {
    const env = { HOME: this.folder, ...codeCache(), ...options.env };
    const child = spawn(process.execPath, [join(packageRoot(), 'client', 'bin.ts'), '-config', this.config, ...args], {
      env,
      cwd: this.folder,
    });
    const printed = { stdout: '', stderr: '' };
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      printed.stdout += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      printed.stderr += text;
    });
    child.stdin.on('error', () => {});
    child.stdin.end(options.input ?? '');
    const ended = new Promise<Ended>((resolve) => child.on('close', (code, signal) => resolve({ code, signal, ...printed })));
    return { child, ended, printed };
  }

  /** Runs the program to its end. */
  run(args: readonly string[], options: RunOptions = {}): Promise<Ended> {
    return this.start(args, options).ended;
  }
}
