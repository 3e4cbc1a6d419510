import { INVOCATION_ID_BYTES } from '../../protocol/records.ts';
import { Verdict } from '../../protocol/verdicts.ts';
import type { Log } from '../../runtime/logging.ts';
import { Backoff } from '../../runtime/wire/backoff.ts';
import type { SlotTable } from '../../runtime/wire/slot-table.ts';
import type { BoundPlan, PluginHost, TaskBody } from '../catalogue/bound-plan.ts';
import type { Plugin } from '../catalogue/plugin.ts';
import type { Sandbox } from '../exec/sandbox.ts';
import { describeSpawnFailure } from '../exec/spawn-failure.ts';
import { broken } from '../runs/outcome.ts';
import type { Run } from '../runs/run.ts';
import { ResidentProcess } from './resident-process.ts';

/** A process that lived this long was healthy: the next pause is short again. */
const HEALTHY_MS = 10_000;

/** What all resident plugins of a worker share. */
export interface ResidentHostOptions {
  readonly sandbox: Sandbox;
  readonly worker: string;
  readonly runs: SlotTable<Run>;
  readonly log: Log;
}

interface WaitingRun {
  readonly run: Run;
  readonly task: TaskBody;
}

/**
 * Keeps one process of a resident plugin: started on first use, started again with growing pauses when it died,
 * replaced after many runs or when its files changed. Runs wait here while there is no process;
 * they fail with the reason when it cannot be started.
 */
export class ResidentHost implements PluginHost {
  readonly #options: ResidentHostOptions;
  readonly #backoff = new Backoff(100, 10_000);
  readonly #leaving = new Set<ResidentProcess>();
  #plugin: Plugin;
  #process: ResidentProcess | null = null;
  #waiting: WaitingRun[] = [];
  #startedAt = 0;
  #notBefore = 0;
  #startFailure: string | null = null;
  #timer: NodeJS.Timeout | null = null;

  constructor(plugin: Plugin, options: ResidentHostOptions) {
    this.#plugin = plugin;
    this.#options = options;
  }

  start(run: Run, task: TaskBody, now: number): void {
    const process = this.#process;
    if (process?.ready === true && this.#waiting.length === 0) {
      process.start(run, task, now);
      if (process.served >= this.#plugin.manifest.recycleAfter) this.#replace();
      return;
    }
    this.#waiting.push({ run, task: copyTask(task) });
    this.#ensureProcess();
  }

  /** The plugin's files changed: its process is replaced. */
  update(plugin: Plugin): void {
    if (plugin.fingerprint === this.#plugin.fingerprint) return;
    this.#plugin = plugin;
    this.#startFailure = null;
    this.#notBefore = 0;
    if (this.#process !== null) this.#replace();
  }

  /** A plan is not used any more. */
  forget(plan: BoundPlan): void {
    this.#process?.forget(plan);
  }

  /** Asks the process to end after its open runs. */
  shutdown(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#process?.stop();
  }

  /** Kills all processes at once. */
  kill(): void {
    this.#process?.kill('the worker ends');
    for (const process of this.#leaving) process.kill('the worker ends');
  }

  /** No process is left. */
  get idle(): boolean {
    return this.#process === null && this.#leaving.size === 0;
  }

  /** The old process finishes its runs; a new one takes over. An ordered plugin's new one begins after the old one has ended. */
  #replace(): void {
    const old = this.#process as ResidentProcess;
    this.#process = null;
    this.#leaving.add(old);
    old.stop();
    if (!this.#plugin.manifest.ordered) this.#launch();
  }

  #ensureProcess(): void {
    if (this.#process !== null || this.#timer !== null) return;
    if (this.#plugin.manifest.ordered && this.#leaving.size > 0) return;
    const pause = this.#notBefore - performance.now();
    if (pause <= 0) this.#launch();
    else if (this.#startFailure !== null) this.#failWaiting(this.#startFailure);
    else this.#launchAfter(pause);
  }

  #launchAfter(pause: number): void {
    this.#timer = setTimeout(() => {
      this.#timer = null;
      this.#launch();
    }, pause);
  }

  #launch(): void {
    const { log, ...rest } = this.#options;
    this.#startedAt = performance.now();
    const { name } = this.#plugin;
    try {
      this.#process = new ResidentProcess({
        ...rest,
        plugin: this.#plugin,
        log: (line) => log.info(`plugin ${name}: ${line}`),
        ready: () => this.#ready(),
        gone: (process, reason) => this.#gone(process, reason),
      });
      log.debug(`started the resident plugin ${name}`);
    } catch (error) {
      this.#died(describeSpawnFailure(this.#plugin, error as Error), false);
    }
  }

  #ready(): void {
    const now = performance.now();
    this.#startFailure = null;
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const { run, task } of waiting) if (run.waiting) this.start(run, task, now);
  }

  #gone(process: ResidentProcess, reason: string): void {
    const { log } = this.#options;
    if (this.#leaving.delete(process)) {
      log.debug(`replaced the resident plugin ${process.plugin.name}`);
      if (this.#waiting.length > 0) this.#ensureProcess();
      return;
    }
    this.#process = null;
    this.#died(reason, process.wasReady);
  }

  #died(reason: string, wasReady: boolean): void {
    const now = performance.now();
    if (now - this.#startedAt > HEALTHY_MS) this.#backoff.reset();
    this.#notBefore = now + this.#backoff.next();
    this.#options.log.warn(`${reason}; it is started again on the next request`);
    this.#startFailure = wasReady ? null : reason;
    if (this.#waiting.length > 0) this.#ensureProcess();
  }

  #failWaiting(reason: string): void {
    const now = performance.now();
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const { run } of waiting) {
      if (!run.waiting) continue;
      run.finish(broken(Verdict.failed, 'TFS_PLUGIN_FAILED', reason), now);
      run.release();
    }
  }
}

/** A task that outlives its batch. */
function copyTask(task: TaskBody): TaskBody {
  const payloadBytes = task.end - task.payload;
  const batch = Buffer.allocUnsafe(INVOCATION_ID_BYTES + payloadBytes);
  task.batch.copy(batch, 0, task.invocation, task.invocation + INVOCATION_ID_BYTES);
  task.batch.copy(batch, INVOCATION_ID_BYTES, task.payload, task.end);
  return { batch, invocation: 0, payload: INVOCATION_ID_BYTES, end: batch.length };
}
