import { Verdict } from '../../protocol/verdicts.ts';
import { formatInvocationId } from '../../runtime/wire/invocation-id.ts';
import type { PluginHost, TaskBody } from '../catalogue/bound-plan.ts';
import type { Plugin } from '../catalogue/plugin.ts';
import { broken } from '../runs/outcome.ts';
import type { Run } from '../runs/run.ts';
import { ExecProcess } from './exec-process.ts';
import type { FifoPool } from './fifo-pool.ts';
import { isExhausted, openPayload } from './payload-file.ts';
import { planEnvironment } from './plan-environment.ts';
import type { Sandbox } from './sandbox.ts';
import { describeSpawnFailure } from './spawn-failure.ts';

/** Spawns in one turn of the event loop: each blocks for about a millisecond, and output and pings must not wait for all. */
const SPAWNS_PER_TURN = 4;

interface WaitingSpawn {
  readonly run: Run;
  readonly plugin: Plugin;
  readonly invocation: string;
  readonly payload: Buffer;
}

/** What all exec plugins of a worker share. */
export interface ExecOptions {
  readonly pool: FifoPool;
  readonly sandbox: Sandbox;
  /** Identity of the worker, for the plugins' environment. */
  readonly worker: string;
}

/** Runs exec plugins: one process per run, a few started in each turn of the event loop. */
export class ExecHost {
  readonly #options: ExecOptions;
  readonly #waiting: WaitingSpawn[] = [];
  readonly #processes = new Set<ExecProcess>();
  #scheduled = false;

  constructor(options: ExecOptions) {
    this.#options = options;
  }

  /** The host of one plugin. */
  forPlugin(plugin: Plugin): PluginHost {
    return { start: (run, task) => this.#enqueue(plugin, run, task) };
  }

  /** Kills all processes at once: the worker ends. */
  kill(): void {
    for (const process of this.#processes) process.kill();
  }

  #enqueue(plugin: Plugin, run: Run, task: TaskBody): void {
    const { batch } = task;
    // The batch is used again after this turn, so the payload is copied.
    const payload = Buffer.from(batch.subarray(task.payload, task.end));
    this.#waiting.push({ run, plugin, invocation: formatInvocationId(batch, task.invocation), payload });
    if (!this.#scheduled) this.#schedule();
  }

  #schedule(): void {
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      for (const waiting of this.#waiting.splice(0, SPAWNS_PER_TURN)) {
        if (waiting.run.waiting) this.#spawn(waiting);
      }
      if (this.#waiting.length > 0) this.#schedule();
    });
  }

  #spawn({ run, plugin, invocation, payload }: WaitingSpawn): void {
    const { pool, sandbox, worker } = this.#options;
    const failed = (error: NodeJS.ErrnoException): void => {
      const now = performance.now();
      if (isExhausted(error)) run.finish(broken(Verdict.busy, 'TFS_BUSY', `this worker cannot start a process now: ${error.message}`), now);
      else run.finish(broken(Verdict.failed, 'TFS_PLUGIN_FAILED', describeSpawnFailure(plugin, error)), now);
      run.release();
    };
    const closed = (process: ExecProcess): void => void this.#processes.delete(process);
    try {
      const environment = {
        ...planEnvironment(run.plan, sandbox, worker),
        TRIGGERFS_INVOCATION: invocation,
        TRIGGERFS_ATTEMPT: String(run.attempt),
      };
      const fd = openPayload(payload, 0, payload.length);
      const process = new ExecProcess({ plugin, run, sandbox, environment, pool, payload: fd, failed, closed });
      if (!process.alive) return;
      this.#processes.add(process);
      run.control = process;
      run.started(performance.now());
    } catch (error) {
      failed(error as NodeJS.ErrnoException);
    }
  }
}
