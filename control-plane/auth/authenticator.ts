import type { FastifyRequest } from 'fastify';
import { TriggerFsError } from '../../protocol/errors.ts';
import { API_TOKEN_PREFIX, hashToken, readClaims, tokenError } from '../../runtime/tokens.ts';
import type { Database } from '../database.ts';
import type { Principal } from './principal.ts';
import { authenticateToken, sessionState } from './repository.ts';
import { apiTokenSession, sessionEnd } from './sessions.ts';

/** Finds out who makes a request, from its bearer token and what the database says about its holder now. */
export class Authenticator {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** @throws TriggerFsError TFS_UNAUTHENTICATED, TFS_REVOKED */
  async authenticate(request: FastifyRequest): Promise<Principal> {
    const bearer = /^Bearer ([^\s]{1,8192})$/i.exec(request.headers.authorization ?? '')?.[1];
    if (bearer === undefined) throw new TriggerFsError('TFS_UNAUTHENTICATED', 'the request has no bearer token');
    return bearer.startsWith(API_TOKEN_PREFIX) ? this.#byApiToken(bearer) : this.#byAccessToken(request);
  }

  async #byApiToken(token: string): Promise<Principal> {
    const account = await authenticateToken(this.#database, token);
    if (account === undefined) throw new TriggerFsError('TFS_UNAUTHENTICATED', 'the API token is unknown, expired or deleted');
    const auth = Math.floor(Date.now() / 1000);
    const sid = apiTokenSession(hashToken(token));
    return { ...account, kind: 'token', sid, auth, operator: false, notAfter: sessionEnd(auth, account.expiresAt), renewable: true };
  }

  async #byAccessToken(request: FastifyRequest): Promise<Principal> {
    let payload: unknown;
    try {
      payload = await request.jwtVerify();
    } catch (cause) {
      if (cause instanceof TriggerFsError) throw cause;
      throw tokenError(cause);
    }
    const claims = readClaims(payload);
    if (claims.kind === 'system') throw new TriggerFsError('TFS_UNAUTHENTICATED', 'the token is not valid here');
    const id = Number(claims.sub);
    const state = await sessionState(this.#database, claims.kind, id, claims.team, claims.sid);
    if (state === undefined || state.epoch !== claims.epoch) throw new TriggerFsError('TFS_REVOKED', 'the session or token was revoked');
    return {
      kind: claims.kind === 'user' && claims.team === 0 ? 'account' : claims.kind,
      id,
      teamId: claims.team,
      ...state,
      sid: claims.sid,
      scopes: claims.scopes ?? null,
      auth: claims.auth,
      notAfter: sessionEnd(claims.auth, null),
      renewable: claims.kind !== 'token',
    };
  }
}
