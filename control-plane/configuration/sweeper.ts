import type { Logger } from '../../runtime/logging.ts';
import { Periodic } from '../jobs/periodic.ts';
import type { Commits } from './commits.ts';

/** Commits wait for minutes. */
const PERIOD_MS = 2_000;

/** Rolls back unconfirmed commits: once at the start, then every two seconds. Every control-plane runs one. */
export class ConfirmationSweeper {
  readonly #log: Logger;
  readonly #sweeps: Periodic;
  /** Why a team's rollback failed the last time: what goes on is logged once. */
  #reasons = new Map<number, string>();

  constructor(commits: Commits, log: Logger) {
    this.#log = log;
    const turn = async (): Promise<void> => this.#report(await commits.rollBackOverdue());
    this.#sweeps = new Periodic({ everyMs: PERIOD_MS, turn, failure: 'unconfirmed commits were not looked at', log });
  }

  /** Starts in the background. */
  start(): void {
    this.#sweeps.start();
  }

  /** Waits for a rollback that is under way. */
  stop(): Promise<void> {
    return this.#sweeps.stop();
  }

  #report(failed: readonly { teamId: number; error: unknown }[]): void {
    const reasons = new Map(failed.map(({ teamId, error }) => [teamId, String(error)]));
    for (const { teamId, error } of failed) {
      if (this.#reasons.get(teamId) === String(error)) continue;
      this.#log.error({ err: error, team: teamId }, 'an unconfirmed commit cannot be rolled back yet');
    }
    this.#reasons = reasons;
  }
}
