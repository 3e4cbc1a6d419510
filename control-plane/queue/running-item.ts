import type { Call } from '../../client/call.ts';
import type { QueueResult } from '../../protocol/http/queue.ts';
import type { Outcome } from '../../protocol/outcome.ts';
import type { Claim } from './claim.ts';
import type { Decision } from './decision.ts';
import type { Job } from './job-queue.ts';
import { ResultCollector } from './result.ts';

/** How an attempt ended. */
export interface Ending {
  readonly outcome: Outcome;
  readonly decision: Decision;
  readonly result: QueueResult;
  readonly worker: string;
}

/**
 * An item that this dispatcher has.
 *
 *   claimed ──sent──▶ running ──outcome──▶ ended ──committed──▶ (removed)
 *
 * When its lease was lost and came back to this same dispatcher, `claim` and `job` are replaced, and all goes on as it was.
 */
export class RunningItem {
  claim: Claim;
  job: Job;
  call: Call | null = null;
  ending: Ending | null = null;
  readonly collector = new ResultCollector();
  /** Worker of the newest manifest, when it is one alone; what of it the database knows. */
  worker = '';
  notedWorker = '';

  constructor(claim: Claim, job: Job) {
    this.claim = claim;
    this.job = job;
  }
}
