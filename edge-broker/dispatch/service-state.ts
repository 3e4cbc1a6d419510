import type { ServiceConfig } from '../directory/team.ts';
import { Fifo } from './fifo.ts';
import type { Run } from './invocation.ts';
import type { WorkerSession } from './worker-session.ts';

/**
 * What a broker remembers about a service beyond its configuration; survives configuration changes.
 * Waiting runs queue by plugin: order is kept among those that the same workers can take, and a run
 * whose only capable worker is busy does not hold up the others.
 */
export class ServiceState {
  /** The newest configuration; replaced when the directory changes. */
  config: ServiceConfig;
  /** Index of the member that is asked first next time. */
  cursor = 0;
  readonly #queues = new Map<string, Fifo<Run>>();

  constructor(config: ServiceConfig) {
    this.config = config;
  }

  /** Runs that any member may take, waiting for capacity. */
  get queued(): number {
    let total = 0;
    for (const queue of this.#queues.values()) total += queue.length;
    return total;
  }

  /** Whether runs wait for a worker with this plugin. */
  hasWaiting(plugin: string): boolean {
    return this.#queues.has(plugin);
  }

  /** Appends a run to the queue of its plugin. */
  enqueue(run: Run): void {
    const { plugin } = run.invocation.entry;
    const queue = this.#queues.get(plugin) ?? new Fifo<Run>();
    this.#queues.set(plugin, queue);
    queue.push(run);
  }

  /** Takes the oldest run of a plugin that the worker has. */
  dequeue(worker: WorkerSession): Run | undefined {
    for (const [plugin, queue] of this.#queues) {
      if (!worker.plugins.has(plugin)) continue;
      const run = queue.shift();
      if (queue.length === 0) this.#queues.delete(plugin);
      if (run !== undefined) return run;
    }
    return undefined;
  }

  /** All waiting runs. */
  waiting(): Run[] {
    return [...this.#queues.values()].flatMap((queue) => [...queue]);
  }

  /** Drops runs that have ended while they waited. */
  compact(): void {
    for (const [plugin, queue] of this.#queues) {
      queue.retain((run) => !run.ended);
      if (queue.length === 0) this.#queues.delete(plugin);
    }
  }

  /** Takes all waiting runs. */
  drain(): Run[] {
    const runs = this.waiting();
    this.#queues.clear();
    return runs;
  }
}
