import { setTimeout as sleep } from 'node:timers/promises';

/** Options of `until`. */
export interface UntilOptions {
  /** Default 10000. */
  readonly timeoutMs?: number;
  /** What is waited for, named when it does not come. */
  readonly what: string;
}

const SHORTEST_PAUSE_MS = 10;
const LONGEST_PAUSE_MS = 50;

/** Looking takes from the machine what is waited for: a tenth of the time so far between two looks is soon enough. */
function pauseMs(waitedMs: number): number {
  return Math.min(Math.max(waitedMs / 10, SHORTEST_PAUSE_MS), LONGEST_PAUSE_MS);
}

/** Waits until a condition gives something else than false, null or undefined, and returns it. Throws after the timeout. */
export async function until<T>(condition: () => T | Promise<T>, options: UntilOptions): Promise<NonNullable<Exclude<T, false>>> {
  const timeoutMs = options.timeoutMs ?? 10_000;
  for (const begun = performance.now(); ; await sleep(pauseMs(performance.now() - begun))) {
    const value = await condition();
    if (value !== false && value !== null && value !== undefined) return value as NonNullable<Exclude<T, false>>;
    if (performance.now() > begun + timeoutMs) throw new Error(`not within ${timeoutMs} ms: ${options.what}`);
  }
}
