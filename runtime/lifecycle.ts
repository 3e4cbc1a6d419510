import type { Logger } from './logging.ts';

/** Something that was started and must be stopped. Stopping twice does nothing. */
export interface Stoppable {
  stop(): Promise<void>;
}

/**
 * The resources of a process, stopped in reverse order of their start.
 * A resource that fails to stop is logged and does not keep the others from stopping.
 */
export class Lifecycle {
  readonly #resources: { name: string; stop: () => Promise<void> | void }[] = [];
  readonly #log: Logger;
  #stopping: Promise<void> | null = null;

  constructor(log: Logger) {
    this.#log = log;
  }

  /** Registers how to release a resource that has just been acquired. */
  add(name: string, stop: () => Promise<void> | void): void {
    this.#resources.push({ name, stop });
  }

  /** Releases everything; concurrent callers share one run. */
  stop(): Promise<void> {
    this.#stopping ??= this.#stopAll();
    return this.#stopping;
  }

  async #stopAll(): Promise<void> {
    for (const resource of this.#resources.reverse()) {
      try {
        await resource.stop();
      } catch (err) {
        this.#log.error({ err }, `cannot stop ${resource.name}`);
      }
    }
  }
}

/** Options of `runUntilSignal`. */
export interface SignalOptions {
  readonly log: Logger;
  /** Graceful stop; awaited once. */
  readonly stop: () => Promise<void>;
  /** After this many milliseconds the process exits with 70 and says what hung. */
  readonly limitMs: number;
  /** Stop when the parent process closes the IPC channel (set for children of triggerfs-server). */
  readonly withParent?: boolean;
}

/** What comes more than once when a terminal is closed or a parent dies, and asks for no haste. */
const CALM: readonly string[] = ['SIGHUP', 'parent'];

/**
 * Waits for SIGINT, SIGTERM, the end of the terminal (SIGHUP) or of the parent, stops, and sets the exit code to 0.
 * A second SIGINT or SIGTERM exits at once. Call it after a successful start.
 */
export function runUntilSignal(options: SignalOptions): void {
  let stopping = false;
  const begin = (reason: string): void => {
    if (stopping) {
      if (!CALM.includes(reason)) process.exit(70);
      return;
    }
    stopping = true;
    // A terminal or parent that went away reads nothing any more; that must not end the process before it has cleaned up.
    for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined);
    options.log.info(`stopping (${reason})`);
    const watchdog = setTimeout(() => {
      options.log.error(`not stopped after ${options.limitMs} ms, giving up`);
      process.exit(70);
    }, options.limitMs);
    watchdog.unref();
    options.stop().then(
      () => process.exit(0),
      (err: unknown) => {
        options.log.error({ err }, 'stop failed');
        process.exit(70);
      },
    );
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => begin(signal));
  if (options.withParent !== true || process.send === undefined) return;
  // Its death is noticed by a write to its pipes, too, which may come first.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined);
  process.on('disconnect', () => begin('parent'));
  // It died while this process was starting.
  if (!process.connected) begin('parent');
}
