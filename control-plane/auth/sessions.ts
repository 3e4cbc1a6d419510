import { createHash } from 'node:crypto';
import { TriggerFsError } from '../../protocol/errors.ts';
import type { AccountSession, LoginResponse, SessionResponse } from '../../protocol/http/session.ts';
import type { ClaimsInput } from '../../runtime/tokens.ts';
import type { Database } from '../database.ts';
import type { KeyRing } from '../keys/key-ring.ts';
import { countUnread } from '../mailbox/repository.ts';
import type { Principal } from './principal.ts';
import { invitationsOf, noteSession, reachableBrokers, teamsOf } from './repository.ts';

const USER_LIFE_S = 10 * 60;
const WORKER_LIFE_S = 60 * 60;
const SESSION_LIFE_S = 30 * 86_400;

/** How long a revoked session is remembered: no token lives longer. */
export const REVOCATION_S: number = WORKER_LIFE_S + 300;

/** End of a session that begins now, in seconds since 1970; `limit` is that of an API token. */
export function sessionEnd(auth: number, limit: number | null): number {
  return Math.min(auth + SESSION_LIFE_S, limit === null ? Number.POSITIVE_INFINITY : Math.floor(limit));
}

/**
 * The session of an API token: always the same one, so that deleting the token revokes all tokens made from it.
 * Its number is the start of a hash of the token's hash.
 */
export function apiTokenSession(hash: Buffer): string {
  const hex = createHash('sha256').update('session').update(hash).digest('hex');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-a${hex.slice(17, 20)}-${hex.slice(20, 32)}`;
}

/** Where a request comes from, as people see it in the list of their sessions. */
export interface ClientInfo {
  readonly address: string;
  readonly agent: string;
}

/** Makes tokens for those who proved who they are. */
export class Sessions {
  readonly #database: Database;
  readonly #keys: KeyRing;

  constructor(database: Database, keys: KeyRing) {
    this.#database = database;
    this.#keys = keys;
  }

  /**
   * Fresh tokens with everything needed to reach the brokers.
   * @throws TriggerFsError TFS_UNAUTHENTICATED when the session has come to its end
   */
  async open(principal: Principal, region: string | undefined): Promise<SessionResponse> {
    const exp = endOfTokens(principal);
    const brokers = await reachableBrokers(this.#database, region);
    const claims = claimsOf(principal, exp);
    const { signer, channelKey } = this.#keys;
    return {
      apiToken: signer.sign(claims, 'triggerfs-api'),
      edgeToken: signer.sign(claims, 'triggerfs-edge'),
      expiresAt: exp,
      team: principal.team,
      identity: principal.identity,
      role: principal.role,
      channelKey,
      brokers,
    };
  }

  /**
   * Like `open` for a person: in a team, or with their account alone. The session appears in their list.
   * @throws TriggerFsError TFS_UNAUTHENTICATED when the session has come to its end
   */
  async openForPerson(principal: Principal, region: string | undefined, client: ClientInfo): Promise<LoginResponse> {
    if (principal.kind === 'account') return this.openAccount(principal, client);
    const opened = await this.open(principal, region);
    return { ...opened, unread: await this.#note(principal, opened.expiresAt, client) };
  }

  /** Tokens of an account alone. @throws TriggerFsError TFS_UNAUTHENTICATED when the session has come to its end */
  async openAccount(principal: Principal, client: ClientInfo): Promise<AccountSession> {
    const exp = endOfTokens(principal);
    return {
      apiToken: this.#keys.signer.sign(claimsOf(principal, exp), 'triggerfs-api'),
      expiresAt: exp,
      team: null,
      identity: principal.identity,
      role: 'account',
      teams: await teamsOf(this.#database, principal.id),
      invitations: await invitationsOf(this.#database, principal.id),
      unread: await this.#note(principal, exp, client),
    };
  }

  /** Notes the session for its owner's list; returns what they have not read. */
  async #note({ sid, id: userId, teamId }: Principal, expiresAt: number, client: ClientInfo): Promise<number> {
    await noteSession(this.#database, { sid, userId, teamId, expiresAt }, client);
    return countUnread(this.#database, userId, teamId);
  }
}

/** The principal of a session that begins now, without a team. */
export function accountPrincipal(
  who: { id: number; identity: string; epoch: number; operator: boolean },
  sid: string,
  auth: number,
): Principal {
  const session = { sid, scopes: null, auth, notAfter: sessionEnd(auth, null), renewable: true };
  return { ...who, kind: 'account', teamId: 0, team: '', role: 'account', ...session };
}

function endOfTokens(principal: Principal): number {
  const now = Math.floor(Date.now() / 1000);
  const exp = Math.min(now + (principal.kind === 'worker' ? WORKER_LIFE_S : USER_LIFE_S), principal.notAfter);
  if (exp <= now) throw new TriggerFsError('TFS_UNAUTHENTICATED', 'the session has come to its end; log in again');
  return exp;
}

function claimsOf(principal: Principal, exp: number): ClaimsInput {
  const claims = {
    kind: principal.kind === 'account' ? ('user' as const) : principal.kind,
    sub: String(principal.id),
    team: principal.teamId,
    teamName: principal.team,
    identity: principal.identity,
    role: principal.role,
    epoch: principal.epoch,
    sid: principal.sid,
    auth: principal.auth,
    exp,
  };
  return principal.scopes === null ? claims : { ...claims, scopes: [...principal.scopes] };
}
