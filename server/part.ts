import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { ERRORS, type ErrorCode, TriggerFsError } from '../protocol/errors.ts';
import { childEnvironment } from '../runtime/environment.ts';
import { Backoff } from '../runtime/wire/backoff.ts';
import type { PartLog } from './part-log.ts';

const READY_LIMIT_MS = 45_000;
/** A part that ran this long is started again with a short pause. */
const STEADY_MS = 60_000;

/** One JSON line on a part's standard output. */
export type PartEvent = Readonly<Record<string, unknown>> & { readonly event: string };

/** How a part is run. */
export interface PartOptions {
  /** For people: `broker`. */
  readonly name: string;
  /** Program and arguments. */
  readonly command: readonly [file: string, ...args: string[]];
  /** Variables added to those of this process. */
  readonly variables: Readonly<Record<string, string>>;
  /** Time from SIGTERM to SIGKILL. */
  readonly patienceMs: number;
  /** Time from SIGTERM to a second one, for a part that then gives up its running work; never when absent. */
  readonly hurryMs?: number;
  readonly log: PartLog;
  /** Takes the events after the ready line. */
  readonly event?: (event: PartEvent) => void;
  /** Takes a line for the terminal: that the part ended and is started again. */
  readonly warn: (line: string) => void;
}

/**
 * A part of triggerFS as a process of its own.
 *
 *   idle ──start──▶ starting ──ready line──▶ running ──end──▶ pausing ──▶ starting …
 *                      └──end──▶ failed          └──stop──▶ stopped
 *
 * starting: the first time, an end rejects `start`; later it leads to the next pause.
 * running:  the part serves. A part that ends by itself is started again with growing pauses.
 * The process has its own session, so Ctrl-C in the terminal reaches this server alone, and a channel to it:
 * when the server dies, the channel closes and the part stops by itself.
 */
export class Part {
  readonly #options: PartOptions;
  readonly #backoff = new Backoff(250, 15_000);
  readonly #stopping = new AbortController();
  #child: ChildProcess | null = null;
  #watching: Promise<void> = Promise.resolve();

  constructor(options: PartOptions) {
    this.#options = options;
  }

  /** Process id, null while it is not running. */
  get pid(): number | null {
    return this.#child?.pid ?? null;
  }

  /** Starts the part; resolves with its ready line. @throws TriggerFsError with the part's own reason when it ends before */
  async start(): Promise<PartEvent> {
    const { ready, ended } = this.#launch();
    const first = await Promise.race([ready, ended.then((how) => this.#failure(how)), sleep(READY_LIMIT_MS, null, { ref: false })]);
    if (first instanceof Error) throw first;
    if (first === null) {
      await this.stop();
      throw new TriggerFsError('TFS_INTERNAL', `the ${this.#options.name} is not ready after ${READY_LIMIT_MS / 1000} s`);
    }
    this.#watching = this.#watch(ended);
    return first;
  }

  /** Stops the part, by force when it takes too long. Stopping twice does nothing. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    const child = this.#child;
    if (child !== null && child.exitCode === null && child.signalCode === null) {
      const exited = once(child, 'exit');
      const { patienceMs, hurryMs = patienceMs } = this.#options;
      child.kill('SIGTERM');
      const timers = [setTimeout(() => child.kill('SIGKILL'), patienceMs)];
      if (hurryMs < patienceMs) timers.push(setTimeout(() => child.kill('SIGTERM'), hurryMs));
      await exited;
      for (const timer of timers) clearTimeout(timer);
    }
    await this.#watching;
    await this.#options.log.close();
  }

  /** Ends the process at once. */
  kill(): void {
    this.#child?.kill('SIGKILL');
  }

  #launch(): { ready: Promise<PartEvent>; ended: Promise<string> } {
    const { command, variables, log } = this.#options;
    log.restart();
    const child = spawn(process.execPath, command, {
      detached: true,
      env: childEnvironment(variables),
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    });
    this.#child = child;
    child.stderr?.setEncoding('utf8').on('data', (chunk: string) => log.write(chunk));
    const ready = new Promise<PartEvent>((resolve) => this.#readEvents(child, resolve));
    const ended = new Promise<string>((resolve) => {
      child.once('error', (error) => resolve(error.message));
      // `close` comes after the last output, so that the reason of the end is known by then.
      child.once('close', (code, signal) => resolve(signal ?? `exit code ${code}`));
    });
    return { ready, ended };
  }

  #readEvents(child: ChildProcess, ready: (event: PartEvent) => void): void {
    let rest = '';
    let isReady = false;
    child.stdout?.setEncoding('utf8').on('data', (chunk: string) => {
      const lines = (rest + chunk).split('\n');
      rest = lines.pop() ?? '';
      for (const event of lines.map(parseEvent)) {
        if (event?.event === 'ready') {
          isReady = true;
          ready(event);
        } else if (event !== null && isReady) {
          this.#options.event?.(event);
        }
      }
    });
  }

  /** Starts the part again for as long as it is wanted. */
  async #watch(running: Promise<string>): Promise<void> {
    const { name, warn, log } = this.#options;
    let started = performance.now();
    for (let how = await running; !this.#stopping.signal.aborted; how = await this.#launch().ended) {
      if (performance.now() - started > STEADY_MS) this.#backoff.reset();
      const pause = this.#backoff.next();
      const words = log.lastWords === '' ? '' : `: ${log.lastWords.split('\n')[0]}`;
      warn(`the ${name} ended (${how})${words}; starting it again in ${Math.round(pause)} ms`);
      await sleep(pause, undefined, { signal: this.#stopping.signal }).catch(() => undefined);
      if (this.#stopping.signal.aborted) return;
      started = performance.now();
    }
  }

  /** What a part said before it ended, as the error of its start. */
  #failure(how: string): TriggerFsError {
    const { name, log } = this.#options;
    const words = /^[\w-]+: ([\s\S]*) \((TFS_[A-Z_]+)\)\s/m.exec(`${log.lastWords}\n`);
    const code = words?.[2] ?? '';
    if (words !== null && Object.hasOwn(ERRORS, code)) return new TriggerFsError(code as ErrorCode, words[1] as string);
    return new TriggerFsError(
      'TFS_INTERNAL',
      `the ${name} ended before it was ready (${how})${log.lastWords === '' ? '' : `: ${log.lastWords}`}`,
    );
  }
}

function parseEvent(line: string): PartEvent | null {
  try {
    const event = JSON.parse(line) as Partial<PartEvent> | null;
    return typeof event?.event === 'string' ? (event as PartEvent) : null;
  } catch {
    return null;
  }
}
