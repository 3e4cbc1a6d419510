import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { RecordType } from '../../../protocol/records.ts';
import { FakeBroker, type FakeRequest } from '../../client/fake-broker.ts';
import { until } from '../../support/wait.ts';
import { FakeApi } from './fake-api.ts';

const BIN = fileURLToPath(new URL('../../../fs/bin.ts', import.meta.url));

/** Why tests with a real mount cannot run here; false where they can. Root needs no fusermount. */
export const noFuse: string | false = existsSync('/dev/fuse')
  ? process.getuid?.() === 0
    ? false
    : 'tests of the mount need root or fusermount'
  : 'there is no /dev/fuse: TESTS OF THE MOUNT ARE SKIPPED';

/** Options of `World.create` and `mount`. */
export interface MountSettings {
  /** Lines of the section [triggerfs]. */
  readonly settings?: string;
  readonly mountpoint?: string;
  readonly folder?: string;
}

/** A control-plane, a broker, and a folder for as many mounts as a test needs. */
export class World {
  readonly folder: string;
  readonly api: FakeApi;
  readonly broker: FakeBroker;
  readonly #mounts: Mounted[] = [];

  private constructor(t: TestContext, api: FakeApi, broker: FakeBroker) {
    this.api = api;
    this.broker = broker;
    this.folder = mkdtempSync(join(tmpdir(), 'triggerfs-mount-'));
    // One hook, in this order: a folder must not be removed while something is mounted in it.
    t.after(async () => {
      for (const mounted of this.#mounts) await mounted.stop();
      broker.kill();
      await api.stop();
      rmSync(this.folder, { recursive: true, force: true });
    });
  }

  static async create(t: TestContext): Promise<World> {
    const api = await FakeApi.start();
    const broker = await FakeBroker.start();
    api.brokers = [broker.address];
    api.onChanged = (version) => {
      for (const peer of broker.sessions) peer.json(RecordType.changed, { version });
    };
    api.directory('/demo');
    return new World(t, api, broker);
  }

  /** Payloads in the order in which the broker saw them first: what was sent again counts once. */
  delivered(): string[] {
    const seen = new Map<string, FakeRequest>();
    for (const request of this.broker.requests) if (!seen.has(request.invocation)) seen.set(request.invocation, request);
    return [...seen.values()].map(({ payload }) => String(payload));
  }

  /** Starts the program and waits until it is ready. */
  async mount(options: MountSettings = {}): Promise<Mounted> {
    const mounted = new Mounted(this, options);
    this.#mounts.push(mounted);
    await mounted.start();
    return mounted;
  }
}

/** The program triggerfs as a process of its own. */
export class Mounted {
  readonly mountpoint: string;
  readonly folder: string;
  readonly #config: string;
  #child: ChildProcess | null = null;
  #stdout = '';
  readonly #ours: boolean;
  stderr = '';

  constructor(world: World, { settings = '', folder = world.folder, mountpoint = join(folder, 'mount') }: MountSettings) {
    this.folder = folder;
    this.mountpoint = mountpoint;
    this.#ours = mountpoint.startsWith(`${world.folder}/`);
    this.#config = join(folder, 'triggerfs.toml');
    const main = `[main]\napi = "${world.api.url}"\nteam = "demo"\nidentity = "demo"\nsecret = "secret"\n`;
    const section = `[triggerfs]\nmountpoint = ${JSON.stringify(mountpoint)}\nspool = "./spool"\n${settings}\n`;
    writeFileSync(this.#config, main + section);
  }

  /** Path of a file in the mount. */
  path(name: string): string {
    return this.mountpoint + name;
  }

  /** Lines that were printed, without the ready line. */
  get printed(): string[] {
    return this.events.flatMap((event) => (event.event === 'print' ? [String(event.line)] : []));
  }

  get events(): Record<string, unknown>[] {
    return this.#stdout
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line) as Record<string, unknown>);
  }

  async start(): Promise<void> {
    this.#stdout = '';
    const child = spawn(process.execPath, [BIN, '-json', '-config', this.#config], { stdio: ['ignore', 'pipe', 'pipe'] });
    this.#child = child;
    child.stdout.on('data', (data) => {
      this.#stdout += String(data);
    });
    child.stderr.on('data', (data) => {
      this.stderr += String(data);
    });
    await this.ready(1);
  }

  /** Waits until the mount was made for the n-th time. */
  async ready(times: number): Promise<void> {
    const child = this.#child;
    await until(() => child?.exitCode !== null || this.events.filter(({ event }) => event === 'ready').length >= times, {
      what: `the mount is ready: ${this.stderr}`,
    });
    if (child?.exitCode !== null) throw new Error(`triggerfs ended with ${child?.exitCode}: ${this.stderr}`);
  }

  /** Process ids of the supervisor and of the process that mounts. */
  get pids(): [number, number] {
    const supervisor = this.#child?.pid as number;
    const children = readFileSync(`/proc/${supervisor}/task/${supervisor}/children`, 'utf8');
    return [supervisor, Number(children.trim().split(' ')[0])];
  }

  /** Kills both processes without warning. */
  async kill(): Promise<void> {
    const child = this.#child as ChildProcess;
    const [supervisor, daemon] = this.pids;
    process.kill(supervisor, 'SIGKILL');
    process.kill(daemon, 'SIGKILL');
    await once(child, 'exit');
    await until(() => !existsSync(`/proc/${daemon}`), { what: 'the mounting process is gone' });
    this.#child = null;
  }

  /** Ends the program as Ctrl-C does and returns its exit code. */
  async stop(): Promise<number | null> {
    const child = this.#child;
    this.#child = null;
    if (child !== null && child.exitCode === null && child.signalCode === null) {
      child.kill('SIGTERM');
      await once(child, 'exit');
    }
    // Only what this test mounted in its own folder, never anything else that is mounted at the path it was given.
    if (this.#ours && isMounted(this.mountpoint)) spawnSync('umount', ['-l', this.mountpoint]);
    return child?.exitCode ?? null;
  }
}

/** Whether something is mounted there. */
export function isMounted(mountpoint: string): boolean {
  const escaped = mountpoint.replaceAll('\\', '\\134').replaceAll(' ', '\\040').replaceAll('\n', '\\012').replaceAll('\t', '\\011');
  return readFileSync('/proc/self/mountinfo', 'utf8').includes(` ${escaped} `);
}

/** Runs a shell command and returns its exit code and what it printed; `$M` is the mount. */
export function shell(
  mounted: Mounted,
  command: string,
  options: { uid?: number; gid?: number } = {},
): Promise<{ code: number | null; output: string }> {
  return new Promise((resolve) => {
    const child = spawn('bash', ['-c', 'M=$1; eval "$2"', 'bash', mounted.mountpoint, command], options);
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (data) => {
        output += String(data);
      });
    }
    child.once('close', (code) => resolve({ code, output }));
  });
}
