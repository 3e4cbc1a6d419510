import type { ResidentSchedule } from '../../protocol/resident.ts';

/** A definition as a broker sends it, with what a test is about. */
export function definition(given: Partial<ResidentSchedule>): ResidentSchedule {
  return {
    schedule: 1,
    generation: 1,
    version: 1,
    name: 'tick',
    from: 0,
    taken: false,
    cron: null,
    timezone: 'UTC',
    everyMs: null,
    anchor: 0,
    runAt: null,
    service: 'demo',
    plugin: 'tick/tick',
    args: {},
    payload: '',
    timeoutMs: 10_000,
    catchup: 'one',
    catchupWindowMs: 3_600_000,
    overlap: 'skip',
    offsetMs: 0,
    pausedUntil: 0,
    offlineMs: 3_600_000,
    ...given,
  };
}
