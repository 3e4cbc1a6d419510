import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from '../../runtime/logging.ts';
import type { Commits } from './commits.ts';

/** Commits wait for minutes. */
const PERIOD_MS = 2_000;

/** Rolls back unconfirmed commits: once at the start, then every two seconds. Every control-plane runs one. */
export class ConfirmationSweeper {
  readonly #commits: Commits;
  readonly #log: Logger;
  readonly #ending = new AbortController();
  /** Why a team's rollback failed the last time: what goes on is logged once. */
  #reasons = new Map<number, string>();
  #loop: Promise<void> | null = null;

  constructor(commits: Commits, log: Logger) {
    this.#commits = commits;
    this.#log = log;
  }

  /** Starts in the background. */
  start(): void {
    this.#loop ??= this.#run();
  }

  /** Waits for a rollback that is under way. */
  async stop(): Promise<void> {
    this.#ending.abort();
    await this.#loop;
  }

  async #run(): Promise<void> {
    const { signal } = this.#ending;
    while (!signal.aborted) {
      try {
        this.#report(await this.#commits.rollBackOverdue());
      } catch (err) {
        // The database is away: it is asked again, and nothing is forgotten meanwhile.
        this.#log.debug({ err }, 'unconfirmed commits were not looked at');
      }
      await sleep(PERIOD_MS, undefined, { signal, ref: false }).catch(() => undefined);
    }
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
