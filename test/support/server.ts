import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { until } from './wait.ts';

const ROOT = join(import.meta.dirname, '..', '..');

/** The ready line of triggerfs-server. */
export interface Ready {
  readonly event: 'ready';
  readonly api: string;
  readonly broker: string;
  readonly gateway: string | null;
  readonly mountpoint: string | null;
  readonly config: string;
  readonly database: string;
}

/** How a program ended. */
export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A folder for a test that PostgreSQL's user can pass through; removed afterwards. */
export function serverFolder(t: Pick<TestContext, 'after'>): string {
  const folder = mkdtempSync(join(tmpdir(), 'triggerfs-server-'));
  chmodSync(folder, 0o755);
  t.after(() => rmSync(folder, { recursive: true, force: true, maxRetries: 3 }));
  return folder;
}

/** triggerfs-server as a real process in a session of its own; killed after the test if it still runs. */
export class ServerProcess {
  readonly child: ChildProcess;
  stdout = '';
  stderr = '';
  readonly #ended: Promise<Ended>;

  constructor(
    t: Pick<TestContext, 'after'>,
    args: readonly string[],
    options: { cwd?: string; env?: Record<string, string>; program?: string } = {},
  ) {
    const env = { ...process.env, DATABASE_URL: '', TRIGGERFS_CONFIG: '', ...options.env };
    this.child = spawn(process.execPath, [join(ROOT, options.program ?? 'server/bin.ts'), ...args], {
      cwd: options.cwd ?? ROOT,
      detached: true,
      env,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.child.stdout?.setEncoding('utf8').on('data', (chunk: string) => {
      this.stdout += chunk;
    });
    this.child.stderr?.setEncoding('utf8').on('data', (chunk: string) => {
      this.stderr += chunk;
    });
    this.#ended = once(this.child, 'close').then(([code, signal]) => ({ code, signal, stdout: this.stdout, stderr: this.stderr }));
    t.after(async () => {
      if (this.child.exitCode !== null || this.child.signalCode !== null) return;
      this.child.kill('SIGTERM');
      await this.#ended;
    });
  }

  /** Resolves when the process has ended. */
  get ended(): Promise<Ended> {
    return this.#ended;
  }

  /** The ready line, parsed. Fails when the server ends before. */
  async ready(): Promise<Ready> {
    await until(() => this.stdout.includes('\n') || this.child.exitCode !== null, { timeoutMs: 60_000, what: 'the ready line' });
    const [line = ''] = this.stdout.split('\n');
    if (!line.startsWith('{')) throw new Error(`the server is not ready: ${this.stderr}`);
    return JSON.parse(line) as Ready;
  }

  /** Sends a signal and waits for the end. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<Ended> {
    this.child.kill(signal);
    return this.#ended;
  }
}

/** Processes whose command line has all these texts: all parts of a server name its configuration or its data folder. */
export function processesNaming(...texts: readonly string[]): number[] {
  const found: number[] = [];
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry)) continue;
    try {
      const command = readFileSync(`/proc/${entry}/cmdline`, 'utf8');
      if (texts.every((text) => command.includes(text))) found.push(Number(entry));
    } catch {
      // It ended meanwhile.
    }
  }
  return found;
}

/** Whether something is mounted at or below a path. */
export function isMounted(path: string): boolean {
  return readFileSync('/proc/self/mountinfo', 'utf8').includes(` ${path}`);
}

/** Runs one of our programs to its end. */
export async function runProgram(file: string, args: readonly string[], input = ''): Promise<Ended> {
  const child = spawn(process.execPath, [join(ROOT, file), ...args], { cwd: tmpdir(), stdio: ['pipe', 'pipe', 'pipe'] });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    stdout += chunk;
  });
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    stderr += chunk;
  });
  child.stdin.on('error', () => undefined);
  child.stdin.end(input);
  const [code, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null];
  return { code, signal, stdout, stderr };
}
