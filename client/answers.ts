import type { Manifest, Outcome, RunVerdict } from '../protocol/outcome.ts';
import type { Call } from './call.ts';

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
