/** Rows that one statement deletes: far less than its time limit has room for, so that a backlog cannot keep it from ever ending. */
const BATCH = 10_000;
/** Other housekeeping waits for this one; what is left is left to the next run. */
const BUDGET_MS = 20_000;

/** Deletes in short statements: `step` deletes up to so many rows and returns how many it found. Returns how many there were. */
export async function inBatches(step: (limit: number) => Promise<number>): Promise<number> {
  const end = performance.now() + BUDGET_MS;
  let all = 0;
  for (let found = BATCH; found >= BATCH && performance.now() < end; all += found) found = await step(BATCH);
  return all;
}
