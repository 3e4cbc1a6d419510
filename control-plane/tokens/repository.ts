import { TriggerFsError } from '../../protocol/errors.ts';
import type { TokenView } from '../../protocol/http/token.ts';
import { createApiToken, hashToken } from '../../runtime/tokens.ts';
import { isAdmin, type Principal } from '../auth/principal.ts';
import type { Transaction } from '../database.ts';
import { iso, oneOf } from '../sql.ts';

/** A token with the hash that its sessions are derived from. */
export interface TokenRow extends TokenView {
  readonly hash: Buffer;
}

/** Everyone sees their own tokens, admins see those of the whole team. */
const TOKENS = `select k.id, k.name, k.scopes, u.identity as owner, k.token_hash as hash, ${iso('k.expires_at')} as "expiresAt",
    ${iso('k.created_at')} as "createdAt"
  from triggerfs.api_tokens k join triggerfs.users u on u.id = k.user_id
  where k.team_id = $1 and (k.user_id = $2 or $3::boolean)`;

function viewer(principal: Principal): unknown[] {
  return [principal.teamId, principal.id, isAdmin(principal)];
}

/** Tokens that the caller sees. */
export function listTokens(tx: Transaction, principal: Principal): Promise<TokenRow[]> {
  return tx.rows<TokenRow>(`${TOKENS} order by k.id`, viewer(principal));
}

/** A token by name or id (a number is always an id). @throws TriggerFsError TFS_NOT_FOUND */
export async function findToken(tx: Transaction, principal: Principal, name: string | number): Promise<TokenRow> {
  const [token] = await tx.rows<TokenRow>(`${TOKENS} and ${oneOf(name, 'k.name', 'k.id', '$4')}`, [...viewer(principal), name]);
  if (token === undefined) throw new TriggerFsError('TFS_NOT_FOUND', `there is no API token ${name}`);
  return token;
}

/** Makes a token; returns its id and the token, of which only a hash is kept. */
export async function createToken(
  tx: Transaction,
  principal: Principal,
  wanted: { name: string; scopes: readonly string[]; expiresAt: string | null },
): Promise<{ id: number; token: string }> {
  const token = createApiToken();
  const [row] = await tx.rows<{ id: number }>(
    `insert into triggerfs.api_tokens (team_id, user_id, name, token_hash, scopes, expires_at) values ($1, $2, $3, $4, $5, $6) returning id`,
    [principal.teamId, principal.id, wanted.name, hashToken(token), wanted.scopes, wanted.expiresAt],
  );
  return { id: (row as { id: number }).id, token };
}

/** Deletes a token. */
export async function deleteToken(tx: Transaction, teamId: number, id: number): Promise<void> {
  await tx.run('delete from triggerfs.api_tokens where team_id = $1 and id = $2', [teamId, id]);
}
