import { type ChildProcess, fork } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { ERRORS } from '../protocol/errors.ts';
import { childEnvironment } from '../runtime/environment.ts';
import { Backoff } from '../runtime/wire/backoff.ts';
import { Guest } from './private/guest.ts';
import { siblingModule } from './sibling-module.ts';

/** A process that ran this long starts with a short pause again. */
const STEADY_MS = 60_000;
/** A child that hangs and does not stop is killed after this time, more than a working one ever takes. */
const PATIENCE_MS = 10_500;
/** Exit code of an unexpected failure. */
const CRASHED = 70;
/** Exit codes of what may be better the next time; others are answers to a person. */
const RETRIED: readonly (number | null)[] = [CRASHED, ERRORS.TFS_SPOOL_FULL.exitCode];

/** Options of a supervisor. */
export interface SupervisorOptions {
  /** Arguments of the program. */
  readonly argv: readonly string[];
  /** What the child reads from its standard input; null for nothing. */
  readonly input: string | null;
  /** Set for the child. */
  readonly variables: Readonly<Record<string, string>>;
}

/**
 * Runs the mounting process and starts it again when it crashes: whoever writes to the mount gets errors for a moment,
 * not for ever. It ends with the child's exit code when that ends by itself, or before it was ever ready. A signal stops
 * both, and so does the end of a process that started this one with a channel.
 */
export class Supervisor {
  readonly #options: SupervisorOptions;
  readonly #backoff = new Backoff(200, 5_000);
  readonly #stopping = new AbortController();
  #child: ChildProcess | null = null;
  #guest: Guest | null = null;
  #ready = false;

  constructor(options: SupervisorOptions) {
    this.#options = options;
  }

  /** The mount was there at least once. */
  get wasReady(): boolean {
    return this.#ready;
  }

  /** Runs until the child ends for good and returns its exit code. */
  async run(): Promise<number> {
    this.#listen();
    try {
      return await this.#supervise();
    } finally {
      process.channel?.unref();
    }
  }

  async #supervise(): Promise<number> {
    while (!this.#stopping.signal.aborted) {
      const started = performance.now();
      const { code, signal } = await this.#runChild();
      if (this.#stopping.signal.aborted) return code ?? CRASHED;
      const crashed = signal !== null || RETRIED.includes(code);
      if (!crashed || !this.#ready) return code ?? CRASHED;
      if (performance.now() - started > STEADY_MS) this.#backoff.reset();
      const pause = this.#backoff.next();
      process.stderr.write(`triggerfs: the mounting process ended (${signal ?? `exit code ${code}`}); starting it again\n`);
      await sleep(pause, undefined, { signal: this.#stopping.signal }).catch(() => undefined);
    }
    return CRASHED;
  }

  #listen(): void {
    const stop = (): void => this.#stop();
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, stop);
    // A terminal that was closed, or a parent that died, reads nothing any more; that must not keep this process from cleaning up.
    for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined);
    if (process.channel === undefined) return;
    process.on('message', (message) => {
      const { shell } = message as { readonly shell?: number };
      if (shell !== undefined) this.#guest = new Guest(shell);
    });
    process.on('disconnect', () => {
      this.#guest?.hangUp();
      stop();
    });
    // It died before anybody listened.
    if (!process.connected) stop();
  }

  #runChild(): Promise<{ code: number | null; signal: NodeJS.Signals | null }> {
    const { argv, input, variables } = this.#options;
    // Detached: Ctrl-C reaches this process alone, which asks the child once. If this process dies, the channel closes.
    const child = fork(fileURLToPath(siblingModule(import.meta.url, 'daemon')), [...argv], {
      detached: true,
      env: childEnvironment(variables),
      stdio: [input === null ? 'ignore' : 'pipe', 'inherit', 'inherit', 'ipc'],
    });
    this.#child = child;
    // A child that dies before it has read everything is started again, or ends this program.
    child.stdin?.on('error', () => undefined).end(input);
    child.on('message', () => {
      this.#ready = true;
    });
    return new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('exit', (code, signal) => resolve({ code, signal }));
    });
  }

  #stop(): void {
    this.#stopping.abort();
    this.#child?.kill('SIGTERM');
    setTimeout(() => this.#child?.kill('SIGKILL'), PATIENCE_MS).unref();
  }
}
