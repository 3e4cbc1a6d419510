import { TriggerFsError } from '../../protocol/errors.ts';
import { API_TOKEN_PREFIX, hashToken } from '../../runtime/tokens.ts';
import type { Directory } from '../directory/directory.ts';
import type { Authenticator } from '../session/authenticator.ts';
import type { Principal } from '../session/session.ts';

/** Who a request speaks for. */
export interface Bearer {
  readonly principal: Principal;
  /** Hex SHA-256 of the API token; null for a login's token. */
  readonly tokenHash: string | null;
}

const HEADER = /^Bearer ([^\s]{1,8192})$/i;

/**
 * Turns `Authorization` headers into bearers: tokens of logins (audience `triggerfs-edge`) and API tokens.
 * Needs no database, so requests are served while that is down.
 */
export class Bearers {
  readonly #directory: Directory;
  readonly #authenticator: Authenticator;

  constructor(directory: Directory, authenticator: Authenticator) {
    this.#directory = directory;
    this.#authenticator = authenticator;
  }

  /** @throws TriggerFsError TFS_UNAUTHENTICATED, TFS_REVOKED */
  authenticate(header: string | undefined): Bearer {
    const token = HEADER.exec(header ?? '')?.[1];
    if (token === undefined) throw new TriggerFsError('TFS_UNAUTHENTICATED', 'the request has no bearer token');
    if (token.startsWith(API_TOKEN_PREFIX)) return this.#byApiToken(hashToken(token).toString('hex'));
    return { principal: this.#authenticator.authenticate(token), tokenHash: null };
  }

  /** Why a bearer's rights have ended before their time, or null. */
  ended({ principal, tokenHash }: Bearer): string | null {
    const known = tokenHash === null || this.#directory.team(principal.teamId)?.apiTokens.has(tokenHash) === true;
    return known ? this.#authenticator.revoked(principal) : 'the API token was deleted';
  }

  #byApiToken(hash: string): Bearer {
    const team = this.#directory.teamOfToken(hash);
    const token = team?.apiTokens.get(hash);
    const member = token === undefined ? undefined : team?.members.get(token.userId);
    if (team === undefined || token === undefined || member === undefined)
      throw new TriggerFsError('TFS_UNAUTHENTICATED', 'the API token is unknown or deleted');
    const end = token.expiresAt ?? Number.POSITIVE_INFINITY;
    if (end <= Date.now()) throw new TriggerFsError('TFS_UNAUTHENTICATED', 'the API token has expired');
    const principal: Principal = {
      kind: 'token',
      subject: token.userId,
      teamId: team.id,
      team: team.name,
      identity: member.identity,
      // An API token ends when it is deleted, not when its owner's logins are.
      epoch: Number.POSITIVE_INFINITY,
      sessionId: hash,
      scopes: token.scopes,
      expiresAt: end / 1000,
      onlyService: null,
    };
    const reason = this.#authenticator.revoked(principal);
    if (reason !== null) throw new TriggerFsError('TFS_REVOKED', reason);
    return { principal, tokenHash: hash };
  }
}
