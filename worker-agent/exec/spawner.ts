import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import type { Writable } from 'node:stream';
import type { Log } from '../../runtime/logging.ts';
import { logLines } from '../resident/log-lines.ts';
import { confined } from './confinement.ts';

/** What processes of one plan are started with. */
export interface SpawnPlan {
  readonly program: string;
  readonly args: readonly string[];
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
  readonly uid?: number;
  readonly gid?: number;
}

/** Paths that become the standard streams of a process. */
export interface SpawnStreams {
  readonly stdin: string;
  readonly stdout: string;
  readonly stderr: string;
}

/** What the spawner reports; `id` is the number that `spawn` was called with. */
export interface SpawnerEvents {
  started(id: number, pid: number): void;
  failed(id: number, error: NodeJS.ErrnoException): void;
  exited(id: number, code: number | null, signal: NodeJS.Signals | null): void;
  /** The spawner died, or could not be started because of `error`; nothing more is reported of what it was asked for. */
  lost(error: NodeJS.ErrnoException | null): void;
}

/**
 * The worker's end of spawner.mjs, a child that starts the processes of exec plugins.
 * It is started anew on the next use when it died.
 */
export class Spawner {
  readonly #events: SpawnerEvents;
  readonly #log: Log;
  readonly #plans = new Set<number>();
  #child: ChildProcess | null = null;
  #commands = '';
  #rest = '';
  #stopped = false;

  constructor(events: SpawnerEvents, log: Log) {
    this.#events = events;
    this.#log = log;
  }

  /** Starts the child, so that the first run does not wait for it. */
  start(): void {
    if (this.#child !== null || this.#stopped) return;
    // A group of its own: Ctrl-C in a terminal is for the worker, which ends its plugins in order.
    const script = join(import.meta.dirname, 'spawner.mjs');
    const { program, args } = confined({ program: process.execPath, args: ['--v8-pool-size=0', script] });
    const child = spawn(program, args, { stdio: 'pipe', detached: true });
    this.#child = child;
    this.#rest = '';
    child.on('error', (error) => this.#lost(child, error));
    child.on('exit', () => this.#lost(child, null));
    // Out of descriptors, a child has no streams; its error follows before any command would be written.
    if (child.pid === undefined) return;
    child.stdout.setEncoding('utf8').on('data', (text: string) => this.#read(text));
    logLines(child.stderr, (line) => this.#log.warn(`spawner: ${line}`));
    child.stdin.on('error', () => undefined);
  }

  /** Makes a plan known, unless it is. */
  plan(plan: number, make: () => SpawnPlan): void {
    this.start();
    if (this.#plans.has(plan)) return;
    this.#command(['plan', plan, make()]);
    this.#plans.add(plan);
  }

  /** A plan is not used any more. */
  forget(plan: number): void {
    if (this.#plans.delete(plan)) this.#command(['unplan', plan]);
  }

  /** Starts a process of a known plan, as leader of a group of its own. `started` or `failed` follows, later. */
  spawn(id: number, plan: number, variables: Readonly<Record<string, string>>, streams: SpawnStreams): void {
    this.#command(['spawn', id, plan, variables, streams.stdin, streams.stdout, streams.stderr]);
  }

  /** Sends a signal to a group. */
  signal(id: number, signal: NodeJS.Signals): void {
    this.#command(['signal', id, signal]);
  }

  /** Kills what is left of a group, and forgets it. */
  close(id: number): void {
    this.#command(['close', id]);
  }

  /** Ends the child; groups that are not closed end with it. */
  stop(): void {
    this.#stopped = true;
    this.#flush();
    this.#child?.stdin?.end();
    this.#child = null;
  }

  #command(command: readonly unknown[]): void {
    if (this.#commands === '') setImmediate(this.#flush);
    this.#commands += `${JSON.stringify(command)}\n`;
  }

  readonly #flush = (): void => {
    if (this.#commands !== '') (this.#child?.stdin as Writable | undefined)?.write(this.#commands);
    this.#commands = '';
  };

  #read(text: string): void {
    const lines = (this.#rest + text).split('\n');
    this.#rest = lines.pop() ?? '';
    for (const line of lines) this.#report(JSON.parse(line) as [name: string, id: number, first: unknown, second: unknown]);
  }

  #report([name, id, first, second]: [name: string, id: number, first: unknown, second: unknown]): void {
    if (name === 'started') this.#events.started(id, first as number);
    else if (name === 'exited') this.#events.exited(id, first as number | null, second as NodeJS.Signals | null);
    else if (name === 'failed') this.#events.failed(id, Object.assign(new Error(second as string), { code: first as string }));
  }

  #lost(child: ChildProcess, error: NodeJS.ErrnoException | null): void {
    if (this.#child !== child) return;
    this.#child = null;
    this.#plans.clear();
    this.#commands = '';
    const what = error === null ? 'the spawner died' : `the spawner could not be started (${error.message})`;
    this.#log.warn(`${what}; it is started again on the next request`);
    this.#events.lost(error);
  }
}
