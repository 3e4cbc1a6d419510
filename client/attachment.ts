import { setTimeout as sleep } from 'node:timers/promises';
import type { Algorithm } from '../protocol/algorithms.ts';
import { ERRORS, type ErrorCode, TriggerFsError } from '../protocol/errors.ts';
import type { HistoryInvocation } from '../protocol/http/history.ts';
import type { DoneEvent, VerdictEvent } from '../protocol/http/invocation.ts';
import type { QueueResult, QueueView } from '../protocol/http/queue.ts';
import { type Manifest, type Outcome, type RunVerdict, runExitCode } from '../protocol/outcome.ts';
import { formatDuration } from '../protocol/quantity.ts';
import type { VerdictName } from '../protocol/verdicts.ts';
import type { ApiCaller } from './api-caller.ts';
import { type FollowedEvent, Follower } from './follower.ts';
import type { OutputChunk } from './invocation.ts';

/** How often the queue is asked what comes next. */
const POLL_MS = 500;
/** How long the history takes at most to write what has ended. */
const WRITTEN_MS = 2_000;
const ENDED = ['done', 'dead', 'cancelled', 'expired'];

/** What is watched: known with the first event. */
export interface WatchedOrder {
  readonly service: string;
  readonly plugin: string;
  readonly args: Readonly<Record<string, string>>;
  readonly timeoutMs?: number;
}

/** Who watches. */
export interface Watcher {
  /** Comes first, once. */
  begin(order: WatchedOrder): void;
  manifest(manifest: Manifest): void;
  output(chunk: OutputChunk): void;
  verdict(verdict: RunVerdict): void;
  /** The end of the last attempt. */
  done(outcome: Outcome, elapsedMs: number): void;
  /** Something that a person should know, and a program need not. */
  notice(text: string): void;
  /** Resolves when more may come. */
  ready(): Promise<void>;
}

/**
 * Watches an invocation, wherever it is: waiting in the queue, running, or long ended. All of its attempts are shown, one after the other.
 *
 *   following an attempt ──done, tried again──▶ waiting for the next attempt ──▶ following it
 *         │        └──────done──▶ end
 *         └──output is not kept──▶ waiting for the result ──▶ end
 */
export class Attachment {
  readonly #caller: ApiCaller;
  readonly #watcher: Watcher;
  readonly #signal: AbortSignal;
  #begun = false;
  #outcome: Outcome | null = null;

  constructor(caller: ApiCaller, watcher: Watcher, signal: AbortSignal) {
    this.#caller = caller;
    this.#watcher = watcher;
    this.#signal = signal;
  }

  /** Watches to the end; returns the exit code. Ends with an AbortError after `signal`. @throws TriggerFsError TFS_NOT_FOUND, TFS_NOT_KEPT */
  async run(id: string): Promise<number> {
    try {
      for (let attempt: string | null = id; attempt !== null; ) attempt = await this.#follow(attempt);
    } catch (error) {
      const unkept = error instanceof TriggerFsError && (error.code === 'TFS_NOT_KEPT' || error.code === 'TFS_NOT_FOUND');
      if (!unkept || !(await this.#awaitResult(id))) throw error;
    }
    return Math.min(this.#outcome?.exitCode ?? 0, 255);
  }

  /** Shows one attempt; returns the id of the next one, null at the end. */
  async #follow(attempt: string): Promise<string | null> {
    for await (const event of new Follower(this.#caller, attempt, this.#signal).events()) {
      if (event.event === 'done') return this.#end(attempt, event);
      await this.#take(attempt, event);
      await this.#watcher.ready();
    }
    return null;
  }

  async #take(attempt: string, event: Exclude<FollowedEvent, DoneEvent>): Promise<void> {
    switch (event.event) {
      case 'invocation':
        if (event.state === 'accepted') this.#watcher.notice(`${attempt} waits for its turn`);
        // Without an algorithm nobody was asked, as far as the history knows.
        else if (event.algorithm !== null) await this.#manifest(attempt);
        return;
      case 'output': {
        if (!this.#begun) await this.#manifest(attempt);
        const { worker, stream, sequence, data, encoding } = event;
        return this.#watcher.output({ worker, stream, sequence, data: Buffer.from(data, encoding ?? 'utf8') });
      }
      case 'gap':
        return this.#watcher.notice(`output of ${event.worker} is missing here: it was lost before it could be kept`);
      case 'verdict':
        return this.#watcher.verdict(verdictOf(event));
    }
  }

  /** What was asked for, and of whom. */
  async #manifest(id: string): Promise<void> {
    const { service, plugin, args, timeoutMs, algorithm, expected, workers, queue } = await this.#details(id);
    this.#begin({ service, plugin, args: args as Record<string, string>, ...(timeoutMs === null ? {} : { timeoutMs }) });
    if (algorithm === null) return;
    const attempt = Math.max(0, (queue?.attempts.indexOf(id) ?? 0) as number);
    this.#watcher.manifest({ invocation: id, algorithm: algorithm as Algorithm, attempt, expected: expected ?? workers.length, workers });
  }

  #begin(order: WatchedOrder): void {
    if (!this.#begun) this.#watcher.begin(order);
    this.#begun = true;
  }

  #details(id: string): Promise<HistoryInvocation> {
    return this.#caller.call({ method: 'GET', path: `/v1/history/${encodeURIComponent(id)}`, signal: this.#signal });
  }

  /** An attempt has ended; only the end of the last one is the end. */
  async #end(id: string, { verdict, exitCode, runs, error, detail, durationMs }: DoneEvent): Promise<string | null> {
    // The queue knows of the end first: the history has it a moment later, or never.
    if (!this.#begun && (await this.#wasRunUnseen(id))) return id;
    if (!this.#begun) await this.#manifest(id);
    const code = error !== null && Object.hasOwn(ERRORS, error) ? (error as ErrorCode) : null;
    const name = verdict as VerdictName;
    this.#outcome = { verdict: name, exitCode: runExitCode(name, exitCode, code), runs, error: code, detail };
    const next = await this.#next(id);
    if (next === null) this.#watcher.done(this.#outcome, durationMs);
    else this.#watcher.notice(`the attempt ended ${verdict} after ${formatDuration(durationMs)}; it is tried again`);
    await this.#watcher.ready();
    return next;
  }

  /**
   * Whether an end was told before the run that it is the end of; waits until the history has it.
   * @throws TriggerFsError TFS_NOT_KEPT when the history does not get it
   */
  async #wasRunUnseen(id: string): Promise<boolean> {
    const limit = performance.now() + WRITTEN_MS;
    for (let waited = false; ; waited = true) {
      const { algorithm, queue } = await this.#details(id);
      if (algorithm !== null || queue === null || queue.attempt === 0) return waited;
      if (performance.now() > limit) throw new TriggerFsError('TFS_NOT_KEPT', `the history has no run of ${id}`);
      await sleep(POLL_MS / 2, undefined, { signal: this.#signal });
    }
  }

  /** The id of the attempt after this one, or null: waits until it is certain whether another one follows. */
  async #next(id: string): Promise<string | null> {
    for (;;) {
      const { queue } = await this.#details(id);
      if (queue === null) return null;
      const next = queue.attempts[queue.attempts.indexOf(id) + 1];
      if (next !== undefined && next !== id) return next;
      if (ENDED.includes(queue.state)) return null;
      await sleep(POLL_MS, undefined, { signal: this.#signal });
    }
  }

  /** Without history the queue keeps the end of the output. False when the queue does not know the invocation. */
  async #awaitResult(id: string): Promise<boolean> {
    for (let told = false; ; told = true) {
      const item = await this.#queued(id);
      if (item === null) return false;
      if (item.result !== null) {
        this.#result(item, item.result);
        return true;
      }
      if (ENDED.includes(item.state)) return false;
      if (!told) this.#watcher.notice('its output is not kept in the history: the end of it is shown when it has ended');
      await sleep(POLL_MS, undefined, { signal: this.#signal });
    }
  }

  #result({ service, plugin, error }: QueueView, result: QueueResult): void {
    const { verdict, exitCode, detail, runs, durationMs, outputBase64, output, stderr, truncated } = result;
    const worker = runs.map((run) => run.worker).join(',');
    const code = error !== null && Object.hasOwn(ERRORS, error) ? (error as ErrorCode) : null;
    this.#begin({ service, plugin, args: {} });
    if (truncated === true) this.#watcher.notice('only the end of its output was kept');
    const data = outputBase64 === undefined ? Buffer.from(output) : Buffer.from(outputBase64, 'base64');
    if (data.length > 0) this.#watcher.output({ worker, stream: 'stdout', sequence: 0, data });
    if (stderr !== '') this.#watcher.output({ worker, stream: 'stderr', sequence: 1, data: Buffer.from(stderr) });
    this.#outcome = { verdict, exitCode: runExitCode(verdict, exitCode, code), runs: runs.length, error: code, detail };
    this.#watcher.done(this.#outcome, durationMs);
  }

  async #queued(id: string): Promise<QueueView | null> {
    try {
      return await this.#caller.call<QueueView>({ method: 'GET', path: `/v1/invocations/${encodeURIComponent(id)}`, signal: this.#signal });
    } catch (error) {
      if (error instanceof TriggerFsError && error.code === 'TFS_NOT_FOUND') return null;
      throw error;
    }
  }
}

function verdictOf({ worker, verdict, exitCode, signal, attempt, durationMs, error, detail }: VerdictEvent): RunVerdict {
  const code = error !== null && Object.hasOwn(ERRORS, error) ? (error as ErrorCode) : null;
  return { worker, verdict: verdict as VerdictName, exitCode, signal, attempt, durationUs: durationMs * 1000, error: code, detail };
}
