import type { ErrorCode } from '../../protocol/errors.ts';
import { QUEUE_LIMITS, type QueueState } from '../../protocol/http/queue.ts';
import type { Outcome } from '../../protocol/outcome.ts';
import type { VerdictName } from '../../protocol/verdicts.ts';
import type { Claim } from './claim.ts';

/** What becomes of an item after an attempt. */
export interface Decision {
  /** `queued`: there is another attempt. */
  readonly state: Exclude<QueueState, 'running'>;
  /** Before the next attempt, in milliseconds. */
  readonly delayMs: number;
  /** It counts as one of the retries that were asked for. */
  readonly retried: boolean;
  /** The service had no worker or no room: all of its items wait, and one of them tries. */
  readonly hold: boolean;
  /** It may have reached a worker: the next attempt asks for the same invocation again. */
  readonly uncertain: boolean;
}

/** How often an item may take its worker with it before that counts as a failure, and the pause after the first time. */
const MAX_LOSSES = 16;
const LOSS_MS = 50;
const MIN_HOLD_MS = 500;
const MAX_HOLD_MS = 15_000;
/** Brokers hear of a new service within seconds. */
const NEWS_MS = 15_000;

/** Nothing ran, and that may change without anybody's doing. */
const WAITS: ReadonlySet<ErrorCode> = new Set([
  'TFS_NO_WORKER',
  'TFS_NO_BROKER',
  'TFS_BUSY',
  'TFS_DRAINING',
  'TFS_UNAVAILABLE',
  'TFS_UNAUTHENTICATED',
  'TFS_REVOKED',
]);
/** A broker that has not read the newest configuration may say these of what exists. */
const NEWS: ReadonlySet<ErrorCode> = new Set(['TFS_UNKNOWN_SERVICE', 'TFS_WRONG_TEAM', 'TFS_PLUGIN_NOT_ALLOWED']);
const RETRIED: ReadonlySet<VerdictName> = new Set(['failed', 'timeout', 'worker-lost']);

/** Decides what follows an attempt's outcome. `random`: 0 to 1, for the jitter. */
export function decide(claim: Claim, outcome: Outcome, random: () => number): Decision {
  const { verdict, error } = outcome;
  // What an earlier attempt began is still not known when this one reached nobody.
  const resumed = claim.action === 'resume';
  if (verdict === 'ok') return end('done');
  if (verdict === 'cancelled') return end('cancelled');
  // What waited in a broker's queue for too long was never started. A run that failed was, whatever its error says.
  if (verdict === 'expired' || (verdict !== 'failed' && error !== null && WAITS.has(error))) return wait(claim, resumed, random);
  if (error === 'TFS_BROKER_LOST') return wait(claim, true, random);
  // A worker was lost that perhaps had not begun: another one gets it, as an attempt of its own.
  const moved = verdict === 'no-worker' && error === 'TFS_WORKER_LOST';
  if (moved && claim.losses < MAX_LOSSES) return again(LOSS_MS * 2 ** claim.losses, false, random);
  if (error !== null && NEWS.has(error) && claim.age_ms < NEWS_MS) return wait(claim, resumed, random);
  if (!(moved || RETRIED.has(verdict)) || claim.retries_left <= 0) return end('dead');
  return again(Math.min(QUEUE_LIMITS.maxBackoffMs, claim.backoff_ms * 2 ** Math.min(claim.retried, 30)), true, random);
}

/** Another attempt, after half to all of a time. */
function again(ceilingMs: number, retried: boolean, random: () => number): Decision {
  return { state: 'queued', delayMs: Math.round(ceilingMs * (0.5 + random() / 2)), retried, hold: false, uncertain: false };
}

function end(state: Decision['state']): Decision {
  return { state, delayMs: 0, retried: false, hold: false, uncertain: false };
}

function wait(claim: Claim, uncertain: boolean, random: () => number): Decision {
  const ceiling = Math.min(MAX_HOLD_MS, MIN_HOLD_MS * 2 ** Math.min(claim.waits, 10));
  return { ...again(ceiling, false, random), hold: true, uncertain };
}
