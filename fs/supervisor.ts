import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { childEnvironment } from '../runtime/environment.ts';
import { Backoff } from '../runtime/wire/backoff.ts';
import { siblingModule } from './sibling-module.ts';

/** A process that ran this long starts with a short pause again. */
const STEADY_MS = 60_000;
/** Exit code of an unexpected failure; others are answers to a person. */
const CRASHED = 70;

/**
 * Runs the mounting process and starts it again when it crashes: whoever writes to the mount gets errors for a moment,
 * not for ever. It ends with the child's exit code when that ends by itself, or before it was ever ready.
 */
export class Supervisor {
  readonly #argv: readonly string[];
  readonly #variables: Readonly<Record<string, string>>;
  readonly #backoff = new Backoff(200, 5_000);
  #child: ChildProcess | null = null;
  #ready = false;
  #stopping = false;

  /** `variables` are set for the child. */
  constructor(argv: readonly string[], variables: Readonly<Record<string, string>>) {
    this.#argv = argv;
    this.#variables = variables;
  }

  /** Runs until the child ends for good and returns its exit code. */
  async run(): Promise<number> {
    const forward = (): void => this.#stop();
    process.on('SIGINT', forward);
    process.on('SIGTERM', forward);
    process.on('SIGHUP', forward);
    for (;;) {
      const started = performance.now();
      const { code, signal } = await this.#runChild();
      if (this.#stopping) return code ?? CRASHED;
      const crashed = signal !== null || code === CRASHED;
      if (!crashed || !this.#ready) return code ?? CRASHED;
      if (performance.now() - started > STEADY_MS) this.#backoff.reset();
      const pause = this.#backoff.next();
      process.stderr.write(`triggerfs: the mounting process ended (${signal ?? `exit code ${code}`}); starting it again\n`);
      await new Promise((resolve) => setTimeout(resolve, pause));
      if (this.#stopping) return CRASHED;
    }
  }

  #runChild(): Promise<{ code: number | null; signal: NodeJS.Signals | null }> {
    // Detached: Ctrl-C reaches this process alone, which asks the child once. If this process dies, the channel closes.
    const child = fork(fileURLToPath(siblingModule(import.meta.url, 'daemon')), [...this.#argv], {
      detached: true,
      env: childEnvironment(this.#variables),
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    this.#child = child;
    child.on('message', () => {
      this.#ready = true;
    });
    return new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('exit', (code, signal) => resolve({ code, signal }));
    });
  }

  #stop(): void {
    this.#stopping = true;
    this.#child?.kill('SIGTERM');
  }
}
