import { setTimeout as sleep } from 'node:timers/promises';

/** Options of `until`. */
export interface UntilOptions {
  /** Default 10000. */
  readonly timeoutMs?: number;
  /** What is waited for, named when it does not come. */
  readonly what: string;
}

/** Waits until a condition gives something else than false, null or undefined, and returns it. Throws after the timeout. */
export async function until<T>(condition: () => T | Promise<T>, options: UntilOptions): Promise<NonNullable<Exclude<T, false>>> {
  const timeoutMs = options.timeoutMs ?? 10_000;
  for (const end = performance.now() + timeoutMs; ; await sleep(10)) {
    const value = await condition();
    if (value !== false && value !== null && value !== undefined) return value as NonNullable<Exclude<T, false>>;
    if (performance.now() > end) throw new Error(`not within ${timeoutMs} ms: ${options.what}`);
  }
}
