import { Verdict } from '../../protocol/verdicts.ts';
import type { Log } from '../../runtime/logging.ts';
import { formatInvocationId } from '../../runtime/wire/invocation-id.ts';
import { SlotTable } from '../../runtime/wire/slot-table.ts';
import type { BoundPlan, PluginHost, TaskBody } from '../catalogue/bound-plan.ts';
import type { Plugin } from '../catalogue/plugin.ts';
import { broken, type Outcome } from '../runs/outcome.ts';
import type { Run } from '../runs/run.ts';
import { ExecProcess } from './exec-process.ts';
import type { FifoPool } from './fifo-pool.ts';
import { createPayloadFile, isExhausted } from './payload-file.ts';
import { PlanNumbers } from './plan-numbers.ts';
import type { Sandbox } from './sandbox.ts';
import { describeSpawnFailure } from './spawn-failure.ts';
import { Spawner } from './spawner.ts';

/** What all exec plugins of a worker share. */
export interface ExecHostOptions {
  readonly pool: FifoPool;
  readonly sandbox: Sandbox;
  /** Identity of the worker, for the plugins' environment. */
  readonly worker: string;
  readonly log: Log;
}

interface Entry {
  readonly process: ExecProcess;
  readonly plugin: Plugin;
}

/** Runs exec plugins: one process per run. */
export class ExecHost {
  readonly #pool: FifoPool;
  readonly #entries = new SlotTable<Entry>();
  readonly #plans: PlanNumbers;
  readonly #spawner: Spawner;

  constructor(options: ExecHostOptions) {
    this.#pool = options.pool;
    this.#plans = new PlanNumbers(options.sandbox, options.worker);
    this.#spawner = new Spawner(
      {
        started: (id, pid) => this.#entries.get(id)?.process.started(pid),
        failed: (id, error) => this.#failed(id, error),
        exited: (id, code, signal) => this.#entries.get(id)?.process.exited(code, signal),
        lost: (error) => this.#lost(error),
      },
      options.log,
    );
  }

  /** Gets ready for the first run. */
  warm(): void {
    this.#spawner.start();
  }

  /** The host of one plugin. */
  forPlugin(plugin: Plugin): PluginHost {
    return { start: (run, task) => this.#start(plugin, run, task) };
  }

  /** A plan is not used any more. */
  forget(plan: BoundPlan): void {
    const number = this.#plans.forget(plan);
    if (number !== null) this.#spawner.forget(number);
  }

  /** Ends the spawner, after the last process. */
  stop(): void {
    this.#spawner.stop();
  }

  /** Kills all processes at once: the worker ends. */
  kill(): void {
    for (const { process } of this.#entries.values()) process.kill();
  }

  #start(plugin: Plugin, run: Run, task: TaskBody): void {
    const { batch } = task;
    const variables = { TRIGGERFS_INVOCATION: formatInvocationId(batch, task.invocation), TRIGGERFS_ATTEMPT: String(run.attempt) };
    let id = 0;
    let process: ExecProcess | null = null;
    try {
      process = new ExecProcess({
        run,
        payload: createPayloadFile(batch.subarray(task.payload, task.end)),
        pool: this.#pool,
        signal: (signal) => this.#spawner.signal(id, signal),
        closed: () => {
          this.#spawner.close(id);
          this.#entries.remove(id);
        },
      });
      id = this.#entries.add({ process, plugin });
      run.control = process;
      const plan = this.#plans.numberOf(run.plan, plugin);
      this.#spawner.plan(plan, () => this.#plans.describe(run.plan, plugin));
      this.#spawner.spawn(id, plan, variables, process.streams);
    } catch (error) {
      const outcome = outcomeOf(plugin, error as NodeJS.ErrnoException);
      if (process !== null) {
        process.failed(outcome);
        return;
      }
      run.finish(outcome, performance.now());
      run.release();
    }
  }

  #lost(error: NodeJS.ErrnoException | null): void {
    for (const { process, plugin } of this.#entries.values()) {
      if (error === null) process.lost();
      else process.failed(outcomeOf(plugin, error));
    }
  }

  #failed(id: number, error: NodeJS.ErrnoException): void {
    const entry = this.#entries.get(id);
    entry?.process.failed(outcomeOf(entry.plugin, error));
  }
}

function outcomeOf(plugin: Plugin, error: NodeJS.ErrnoException): Outcome {
  if (isExhausted(error)) return broken(Verdict.busy, 'TFS_BUSY', `this worker cannot start a process now: ${error.message}`);
  return broken(Verdict.failed, 'TFS_PLUGIN_FAILED', describeSpawnFailure(plugin, error));
}
