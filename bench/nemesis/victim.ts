import { type ChildProcess, spawn } from 'node:child_process';
import { openSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { childEnvironment } from '../../runtime/environment.ts';
import type { EmbeddedPostgres } from '../../runtime/postgres/embedded.ts';

/** Something that is killed with SIGKILL and comes back. */
export interface Victim {
  readonly name: string;
  /** What it is, for the counts: several victims may be of one kind. */
  readonly kind: string;
  kill(): Promise<void>;
  stop(): Promise<void>;
}

const RESTART_MS = 100;
const STOP_MS = 15_000;

/** One of our programs, started again whenever it ends. */
export class ProgramVictim implements Victim {
  readonly name: string;
  readonly kind: string;
  readonly #args: readonly string[];
  readonly #env: Readonly<Record<string, string>>;
  readonly #log: number;
  #child: ChildProcess | null = null;
  #stopped = false;
  #loop: Promise<void> | null = null;

  constructor(kind: string, name: string, args: readonly string[], logFile: string, env: Readonly<Record<string, string>> = {}) {
    this.kind = kind;
    this.name = name;
    this.#args = args;
    this.#env = env;
    this.#log = openSync(logFile, 'a');
  }

  /** Starts it, in the background. */
  start(): void {
    this.#loop ??= this.#run();
  }

  async kill(): Promise<void> {
    this.#child?.kill('SIGKILL');
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    const child = this.#child;
    child?.kill('SIGTERM');
    const hard = setTimeout(() => child?.kill('SIGKILL'), STOP_MS);
    await this.#loop;
    clearTimeout(hard);
  }

  async #run(): Promise<void> {
    while (!this.#stopped) {
      const child = spawn(process.execPath, [...this.#args], {
        env: childEnvironment(this.#env),
        stdio: ['ignore', this.#log, this.#log, 'ipc'],
      });
      this.#child = child;
      await new Promise((resolve) => child.once('exit', resolve).once('error', resolve));
      this.#child = null;
      await sleep(RESTART_MS);
    }
  }
}

/** PostgreSQL: its postmaster is killed, all of its backends end, and it recovers from its log. */
export class DatabaseVictim implements Victim {
  readonly name = 'postgresql';
  readonly kind = 'postgresql';
  readonly #postgres: EmbeddedPostgres;
  readonly #pid: () => number;

  constructor(postgres: EmbeddedPostgres, pid: () => number) {
    this.#postgres = postgres;
    this.#pid = pid;
  }

  async kill(): Promise<void> {
    process.kill(this.#pid(), 'SIGKILL');
    for (let revived = false; !revived; ) {
      await sleep(RESTART_MS);
      revived = await this.#postgres.revive().catch(() => false);
    }
  }

  async stop(): Promise<void> {
    await this.#postgres.stop();
  }
}
