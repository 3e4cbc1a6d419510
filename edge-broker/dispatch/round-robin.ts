import type { ServiceState } from './service-state.ts';
import type { WorkerSession } from './worker-session.ts';

/** Why no worker can take a run: all are busy, none of those online has the plugin, or none is online. */
export type Unavailable = 'busy' | 'no-plugin' | 'offline';

/**
 * The next worker in turn that is online, has the plugin and has capacity.
 * The turn passes to the member after the chosen one, so that equal requests spread evenly.
 */
export function pick(service: ServiceState, plugin: string, workers: ReadonlyMap<number, WorkerSession>): WorkerSession | Unavailable {
  const ids = service.config.workerIds;
  let reason: Unavailable = 'offline';
  for (let step = 0; step < ids.length; step += 1) {
    const index = (service.cursor + step) % ids.length;
    const worker = workers.get(ids[index] as number);
    if (worker === undefined || !worker.accepting) continue;
    if (!worker.plugins.has(plugin)) {
      if (reason === 'offline') reason = 'no-plugin';
    } else if (worker.free) {
      service.cursor = (index + 1) % ids.length;
      return worker;
    } else {
      reason = 'busy';
    }
  }
  return reason;
}
