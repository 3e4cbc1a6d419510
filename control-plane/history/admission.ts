import type { FastifyRequest } from 'fastify';
import { API_TOKEN_PREFIX } from '../../runtime/tokens.ts';
import type { Principal } from '../auth/principal.ts';
import { authenticateToken, sessionState } from '../auth/repository.ts';
import type { Database } from '../database.ts';

/**
 * Whether a caller, once admitted, still is: answers that go on for hours outlive the token they began with, but not a session that
 * was ended, a membership or an API token. While the database is away nothing changes.
 */
export async function isStillAdmitted(database: Database, request: FastifyRequest, principal: Principal): Promise<boolean> {
  try {
    const bearer = (request.headers.authorization ?? '').replace(/^Bearer /i, '');
    if (bearer.startsWith(API_TOKEN_PREFIX)) {
      const account = await authenticateToken(database, bearer);
      return account?.teamId === principal.teamId && account.scopes.includes('read');
    }
    const state = await sessionState(
      database,
      principal.kind === 'account' ? 'user' : principal.kind,
      principal.id,
      principal.teamId,
      principal.sid,
    );
    return state?.epoch === principal.epoch;
  } catch {
    return true;
  }
}
