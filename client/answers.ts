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
  /**
   * The broker that had the request was lost; what became of it is not known. With this handler, which is called for each such loss, the request is
   * `held`: it goes out again after `call.resend()` and not before, so that the sender can note it first. For rules that are not `ordered`.
   */
  lost?(call: Call): void;
  /** Exactly once for each call, whatever dies: at latest a few seconds after the time limit. */
  done(call: Call, outcome: Outcome): void;
}
