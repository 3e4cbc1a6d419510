import { setTimeout as sleep } from 'node:timers/promises';

/** Waits until a condition is true. @throws Error naming `what` after `limitMs` */
export async function until(what: string, condition: () => boolean | Promise<boolean>, limitMs = 30_000): Promise<void> {
  for (const end = performance.now() + limitMs; !(await condition()); await sleep(20)) {
    if (performance.now() > end) throw new Error(`not within ${limitMs} ms: ${what}`);
  }
}
