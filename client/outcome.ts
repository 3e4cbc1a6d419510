import { ERRORS, type ErrorCode } from '../protocol/errors.ts';
import type { VerdictName } from '../protocol/verdicts.ts';
import type { Outcome, RunVerdict } from './answers.ts';

/** From good to bad: the verdict of an invocation is the worst of its runs. Runs that were skipped because others failed weigh little. */
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
  const verdict = worse ? run.verdict : sum.verdict;
  return {
    verdict,
    exitCode: Math.max(countedCode(verdict, sum.verdict, sum.exitCode), countedCode(verdict, run.verdict, exitCode)),
    runs: sum.runs + reached,
    error: worse ? error : sum.error,
    detail: worse ? run.detail : sum.detail,
  };
}

/** A cancelled run's exit code counts only when nothing worse happened: it must not hide the plugin's own. */
function countedCode(overall: VerdictName, verdict: VerdictName, exitCode: number): number {
  return verdict === 'cancelled' && overall !== 'cancelled' ? 0 : exitCode;
}
