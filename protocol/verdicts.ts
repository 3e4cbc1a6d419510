/** How a run ended: every run ends in exactly one verdict. The numbers travel in RESULT records. */
export const Verdict = Object.freeze({
  ok: 0,
  failed: 1,
  timeout: 2,
  cancelled: 3,
  workerLost: 4,
  noWorker: 5,
  busy: 6,
  denied: 7,
  expired: 8,
});

/** Number of a verdict on the wire. */
export type VerdictNumber = (typeof Verdict)[keyof typeof Verdict];

const NAMES = ['ok', 'failed', 'timeout', 'cancelled', 'worker-lost', 'no-worker', 'busy', 'denied', 'expired'] as const;

/** Name of a verdict as people and JSON see it. */
export type VerdictName = (typeof NAMES)[number];

/** All verdict names, in wire order. */
export const VERDICT_NAMES: readonly VerdictName[] = NAMES;

/** Name of a verdict number; a number from a newer peer reads as `failed`, never as success. */
export function verdictName(verdict: number): VerdictName {
  return NAMES[verdict] ?? 'failed';
}
