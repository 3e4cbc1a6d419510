import type { Algorithm } from '../protocol/algorithms.ts';
import type { ErrorCode } from '../protocol/errors.ts';
import type { VerdictName } from '../protocol/verdicts.ts';
import type { Call } from './call.ts';

/** The broker's first answer: how the invocation is spread over workers. A later one, with a higher attempt, replaces it. */
export interface Manifest {
  /** Invocation id as text. */
  readonly invocation: string;
  readonly algorithm: Algorithm;
  readonly attempt: number;
  /** Runs to expect; may be more than `workers` while some are not chosen yet. */
  readonly expected: number;
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

/**
 * What happens to a call, in order. Handlers run inside the reading of a batch: keep them short.
 * One object may serve any number of calls.
 */
export interface CallHandlers {
  manifest?(manifest: Manifest, call: Call): void;
  /** A piece of output. `data` is valid during the call only: copy what is kept. */
  output?(call: Call, data: Buffer, stderr: boolean, worker: string, sequence: number): void;
  verdict?(call: Call, verdict: RunVerdict): void;
  /** Exactly once for each call, whatever dies: at latest a few seconds after the time limit. */
  done(call: Call, outcome: Outcome): void;
}
