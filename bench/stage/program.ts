import { type ChildProcess, type StdioOptions, spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { createInterface } from 'node:readline';
import { childEnvironment } from '../../runtime/environment.ts';

const STOP_MS = 15_000;
const READY_MS = 60_000;

/** How a program is started. */
export interface ProgramOptions {
  /** Shown in messages; also the name of its log. */
  readonly name: string;
  readonly command: string;
  readonly args: readonly string[];
  /** What it writes to standard error; standard output is looked at for a line with `ready` and otherwise dropped. */
  readonly logFile: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  /** Ours: they have an IPC channel, and end when this process dies. */
  readonly ipc?: boolean;
}

/** A program that the benchmarks started, in a process group of its own: Ctrl-C in the terminal reaches only the benchmark. */
export class Program {
  readonly name: string;
  readonly #child: ChildProcess;
  readonly #logFile: string;
  readonly #ended: Promise<void>;
  readonly #ready = Promise.withResolvers<Record<string, unknown>>();
  #running = true;

  constructor(options: ProgramOptions) {
    this.name = options.name;
    this.#logFile = options.logFile;
    const log = openSync(options.logFile, 'a');
    const stdio: StdioOptions = ['ignore', 'pipe', log];
    this.#child = spawn(options.command, options.args, {
      stdio: options.ipc === true ? [...stdio, 'ipc'] : stdio,
      env: childEnvironment(options.env ?? {}),
      cwd: options.cwd,
      detached: true,
    });
    closeSync(log);
    this.#ready.promise.catch(() => undefined);
    this.#ended = new Promise((resolve) => {
      const ended = (reason: string): void => {
        this.#running = false;
        this.#ready.reject(new Error(`${this.name} ${reason}${this.logTail()}`));
        resolve();
      };
      this.#child.once('error', (error) => ended(`cannot be started: ${error.message}`));
      this.#child.once('exit', (code, signal) => ended(`ended with ${signal ?? `code ${code}`}`));
    });
    const { stdout } = this.#child;
    if (stdout !== null) {
      const lines = createInterface(stdout).on('line', (line) => this.#line(line));
      // What comes after it is thrown away unread: reading it would cost the time of what is measured.
      const discard = (): void => {
        lines.close();
        stdout.resume();
      };
      this.#ready.promise.then(discard, () => undefined);
    }
  }

  /** Process id. */
  get pid(): number {
    return this.#child.pid ?? 0;
  }

  get running(): boolean {
    return this.#running;
  }

  /** The IPC side of the process. */
  get channel(): ChildProcess {
    return this.#child;
  }

  /** Resolves when the process has ended. */
  get ended(): Promise<void> {
    return this.#ended;
  }

  /** The object of the line `{"event":"ready",...}`. @throws Error when the program ends before or stays silent */
  async ready(): Promise<Record<string, unknown>> {
    const late = setTimeout(
      () => this.#ready.reject(new Error(`${this.name} is not ready after ${READY_MS} ms${this.logTail()}`)),
      READY_MS,
    );
    try {
      return await this.#ready.promise;
    } finally {
      clearTimeout(late);
    }
  }

  /** SIGTERM, and SIGKILL for the whole group when that does not help. */
  async stop(): Promise<void> {
    if (!this.#running) return;
    this.#child.kill('SIGTERM');
    const late = setTimeout(() => this.kill(), STOP_MS);
    await this.#ended;
    clearTimeout(late);
  }

  /** SIGKILL for the process and its group. */
  kill(): void {
    if (!this.#running || this.pid === 0) return;
    try {
      process.kill(-this.pid, 'SIGKILL');
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
    }
  }

  /** The last lines of the log, for messages. */
  logTail(): string {
    const lines = readFileSync(this.#logFile, 'utf8').trim().split('\n').slice(-8).join('\n  ');
    return lines === '' ? '' : `\n  ${lines}`;
  }

  #line(line: string): void {
    if (!line.startsWith('{')) return;
    try {
      const value = JSON.parse(line) as Record<string, unknown>;
      if (value.event === 'ready') this.#ready.resolve(value);
    } catch {
      // Not for us: a log line that happens to begin with a brace.
    }
  }
}
