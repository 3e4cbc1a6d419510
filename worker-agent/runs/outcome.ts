import { ERRORS, type ErrorCode } from '../../protocol/errors.ts';
import { Verdict, type VerdictNumber } from '../../protocol/verdicts.ts';

/** How a run ended: the fields of its RESULT record. */
export interface Outcome {
  readonly verdict: VerdictNumber;
  readonly exitCode: number;
  /** Number of the signal that ended the process, or 0. */
  readonly signal: number;
  /** Number of the error in the registry, or 0. */
  readonly error: number;
  readonly detail: string;
}

/** Exit code of shells for a process that a signal ended: 128 and the signal's number. */
export const SIGNAL_EXIT_BASE = 128;

const EXIT_TIMEOUT = 124;
const OK: Outcome = Object.freeze({ verdict: Verdict.ok, exitCode: 0, signal: 0, error: 0, detail: '' });

/** The plugin ended by itself with this exit code. */
export function exited(exitCode: number): Outcome {
  return exitCode === 0 ? OK : { verdict: Verdict.failed, exitCode, signal: 0, error: 0, detail: '' };
}

/** A signal ended the plugin, and the worker had not sent it. */
export function signalled(signal: number, name: string): Outcome {
  return { verdict: Verdict.failed, exitCode: SIGNAL_EXIT_BASE + signal, signal, error: 0, detail: `the plugin was ended by ${name}` };
}

/** The run did not happen, or broke, because of an error. The exit code is the error's. */
export function broken(verdict: VerdictNumber, code: ErrorCode, detail: string): Outcome {
  return { verdict, exitCode: ERRORS[code].exitCode, signal: 0, error: ERRORS[code].number, detail };
}

/** The worker ended the run: because its time was over, or because its caller gave up. */
export function interrupted(verdict: VerdictNumber, exitCode: number, signal: number): Outcome {
  const timeout = verdict === Verdict.timeout;
  const { number } = ERRORS[timeout ? 'TFS_TIMEOUT' : 'TFS_CANCELLED'];
  return { verdict, exitCode: timeout ? EXIT_TIMEOUT : exitCode, signal, error: number, detail: '' };
}
