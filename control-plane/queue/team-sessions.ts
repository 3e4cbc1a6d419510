import type { Logger } from '../../runtime/logging.ts';
import type { Database } from '../database.ts';
import type { KeyRing } from '../keys/key-ring.ts';
import type { Team } from './system-login.ts';
import { TeamSession } from './team-session.ts';

/** A session that had nothing to do for so long is closed. */
const IDLE_MS = 60_000;

/** One session with the brokers for each team that has work. */
export class TeamSessions {
  readonly #options: { database: Database; keys: KeyRing; log: Logger };
  readonly #sessions = new Map<number, TeamSession>();

  constructor(options: { database: Database; keys: KeyRing; log: Logger }) {
    this.#options = options;
  }

  /** The started session of a team, for one item that gives it back with `release`. @throws TriggerFsError TFS_NO_BROKER */
  async acquire(team: Team): Promise<TeamSession> {
    let session = this.#sessions.get(team.id);
    if (session === undefined) {
      session = new TeamSession(team, this.#options);
      this.#sessions.set(team.id, session);
    }
    session.users += 1;
    try {
      await session.started;
      return session;
    } catch (error) {
      this.release(session);
      if (this.#sessions.get(team.id) === session) this.#sessions.delete(team.id);
      void session.stop();
      throw error;
    }
  }

  /** The item has ended. */
  release(session: TeamSession): void {
    session.users -= 1;
    session.usedAt = performance.now();
  }

  /** Closes sessions that nobody has used for a while. */
  sweep(): void {
    for (const [id, session] of this.#sessions) {
      if (session.users > 0 || performance.now() - session.usedAt < IDLE_MS) continue;
      this.#sessions.delete(id);
      void session.stop();
    }
  }

  /** Closes all. */
  async stop(): Promise<void> {
    await Promise.all([...this.#sessions.values()].map((session) => session.stop()));
    this.#sessions.clear();
  }
}
