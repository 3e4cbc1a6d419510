import type { Algorithm } from './algorithms.ts';
import { ERRORS, type ErrorCode } from './errors.ts';
import type { VerdictName } from './verdicts.ts';

/** How an invocation is spread over workers: the broker's first answer. A later one, with a higher attempt, replaces it. */
export interface Manifest {
  /** Invocation id as text. */
  readonly invocation: string;
  readonly algorithm: Algorithm;
  readonly attempt: number;
  /** Runs to expect; may be more than `workers` while some are not chosen yet. */
  readonly expected: number;
  /** Identities. */
  readonly workers: readonly string[];
}

/** How one run ended. */
export interface RunVerdict {
  /** Identity of the worker; empty when the invocation never reached one. */
  readonly worker: string;
  readonly verdict: VerdictName;
  /** Exit code of the plugin, 128 + n after signal n. */
  readonly exitCode: number;
  readonly signal: number;
  readonly attempt: number;
  /** Microseconds from start to end on the worker. */
  readonly durationUs: number;
  readonly error: ErrorCode | null;
  readonly detail: string;
}

/** How a whole invocation ended. */
export interface Outcome {
  /** The worst verdict of its runs. */
  readonly verdict: VerdictName;
  /** The largest exit code of its runs; a run without one of its own counts with its error's (124 for a timeout, 69 without a worker). */
  readonly exitCode: number;
  /** Runs that reached a worker. */
  readonly runs: number;
  readonly error: ErrorCode | null;
  readonly detail: string;
}

/** From good to bad: the verdict of an invocation is the worst of its runs. What a serial service left out is cancelled, and no failure. */
const SEVERITY: readonly VerdictName[] = ['ok', 'cancelled', 'failed', 'timeout', 'expired', 'busy', 'no-worker', 'worker-lost', 'denied'];

const VERDICT_ERRORS: Readonly<Record<VerdictName, ErrorCode | null>> = {
  ok: null,
  failed: null,
  timeout: 'TFS_TIMEOUT',
  cancelled: 'TFS_CANCELLED',
  'worker-lost': 'TFS_WORKER_LOST',
  'no-worker': 'TFS_NO_WORKER',
  busy: 'TFS_BUSY',
  denied: 'TFS_FORBIDDEN',
  expired: 'TFS_EXPIRED',
};

/** The error code that goes with a verdict when the broker named none. */
export function verdictError(verdict: VerdictName): ErrorCode | null {
  return VERDICT_ERRORS[verdict];
}

/** Exit code that a run stands for: the plugin's own, or that of the error which kept it from ending by itself. */
export function runExitCode(verdict: VerdictName, exitCode: number, error: ErrorCode | null): number {
  if (verdict === 'ok') return 0;
  if (verdict === 'failed' && exitCode > 0) return exitCode;
  return error === null ? 1 : ERRORS[error].exitCode;
}

/** Joins the outcome of the runs so far with one more run. */
export function joinOutcome(sum: Outcome | null, run: RunVerdict): Outcome {
  const error = run.error ?? verdictError(run.verdict);
  const exitCode = runExitCode(run.verdict, run.exitCode, error);
  const reached = run.worker === '' ? 0 : 1;
  if (sum === null) return { verdict: run.verdict, exitCode, runs: reached, error, detail: run.detail };
  const worse = SEVERITY.indexOf(run.verdict) > SEVERITY.indexOf(sum.verdict);
  return {
    verdict: worse ? run.verdict : sum.verdict,
    exitCode: joinExitCodes(sum, { verdict: run.verdict, exitCode }),
    runs: sum.runs + reached,
    error: worse ? error : sum.error,
    detail: worse ? run.detail : sum.detail,
  };
}

/** The larger one, but a cancelled run never hides the exit code of one that failed by itself. */
function joinExitCodes(a: Pick<Outcome, 'verdict' | 'exitCode'>, b: Pick<Outcome, 'verdict' | 'exitCode'>): number {
  if (a.verdict === 'cancelled' && b.exitCode > 0) return b.exitCode;
  if (b.verdict === 'cancelled' && a.exitCode > 0) return a.exitCode;
  return Math.max(a.exitCode, b.exitCode);
}
