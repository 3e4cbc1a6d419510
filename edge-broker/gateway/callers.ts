import { TriggerFsError } from '../../protocol/errors.ts';
import type { Logger } from '../../runtime/logging.ts';
import type { Sessions } from '../session/sessions.ts';
import type { Bearer, Bearers } from './bearers.ts';
import { CallerSession } from './caller-session.ts';

const MAX_IDLE = 1_000;
const IDLE_MS = 60_000;

/** The gateway's sessions: one for each login or API token in use. Those without calls are closed after a minute, or when there are too many. */
export class Callers {
  readonly #bearers: Bearers;
  readonly #sessions: Sessions;
  readonly #log: Logger;
  readonly #open = new Map<string, CallerSession>();

  constructor(bearers: Bearers, sessions: Sessions, log: Logger) {
    this.#bearers = bearers;
    this.#sessions = sessions;
    this.#log = log;
  }

  /** Open sessions. */
  get size(): number {
    return this.#open.size;
  }

  /** Calls that are not done, over all sessions. */
  get calls(): number {
    let calls = 0;
    for (const session of this.#open.values()) calls += session.size;
    return calls;
  }

  /** The session of a bearer that has just proved who it is. */
  session(bearer: Bearer): CallerSession {
    const key = `${bearer.principal.teamId}:${bearer.principal.sessionId}`;
    const session = this.#usable(this.#open.get(key)) ?? new CallerSession(bearer, this.#sessions, this.#log);
    session.lastUsed = Date.now();
    this.#open.delete(key);
    this.#open.set(key, session);
    return session;
  }

  /** Closes the sessions of a team (0: of all) whose rights have ended. */
  recheck(teamId: number): void {
    for (const [key, session] of this.#open) {
      if (teamId !== 0 && session.bearer.principal.teamId !== teamId) continue;
      if (this.#usable(session) === null) this.#open.delete(key);
    }
  }

  /** Closes idle sessions; oldest use comes first. */
  sweep(now: number): void {
    for (const [key, session] of this.#open) {
      const old = now - session.lastUsed > IDLE_MS || this.#open.size > MAX_IDLE;
      if (!session.closed && (session.size > 0 || !old)) continue;
      session.close(new TriggerFsError('TFS_CANCELLED', 'the session was not used any more'));
      this.#open.delete(key);
    }
  }

  /** Closes all sessions. */
  close(reason: TriggerFsError): void {
    for (const session of this.#open.values()) session.close(reason);
    this.#open.clear();
  }

  #usable(session: CallerSession | undefined): CallerSession | null {
    if (session === undefined || session.closed) return null;
    const ended = this.#bearers.ended(session.bearer);
    if (ended === null) return session;
    session.close(new TriggerFsError('TFS_REVOKED', ended));
    return null;
  }
}
