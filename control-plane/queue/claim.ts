import type { InvocationSource } from '../../protocol/http/history.ts';
import type { FollowUp } from '../../protocol/http/queue.ts';

/** What is to be done with a fetched item. `park`: nothing, it waits in the database. */
export type ClaimAction = 'run' | 'resume' | 'expire' | 'cancel' | 'park';

/** A row of `triggerfs.queue_claim`. */
export interface Claim {
  readonly id: string;
  readonly action: ClaimAction;
  /** Fencing token. */
  readonly attempt: number;
  readonly invocation_id: string;
  readonly resume_worker: number | null;
  readonly team_id: number;
  /** Null when the team is gone. */
  readonly team: string | null;
  readonly source: InvocationSource;
  readonly caller: string;
  readonly service: string;
  readonly plugin: string;
  readonly args: Readonly<Record<string, string>>;
  readonly trigger_id: number | null;
  readonly schedule_id: number | null;
  readonly timeout_ms: number | null;
  readonly payload: Buffer | null;
  readonly sealed: boolean;
  readonly retries_left: number;
  readonly retried: number;
  readonly waits: number;
  /** Attempts whose worker was lost with them, perhaps before they began. */
  readonly losses: number;
  readonly backoff_ms: number;
  /** How long ago it was accepted when it was taken, by the clock of the database: that of this machine may have jumped. */
  readonly age_ms: number;
  readonly accepted_at: Date;
  readonly due_at: Date;
  readonly expires_at: Date;
  readonly cancel_requested: boolean;
  readonly on_success: FollowUp | null;
  readonly on_failure: FollowUp | null;
  readonly depth: number;
}
