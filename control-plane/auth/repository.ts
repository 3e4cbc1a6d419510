import type { SessionResponse } from '../../protocol/http/session.ts';
import { hashToken } from '../../runtime/tokens.ts';
import type { Database, Transaction } from '../database.ts';
import { ALIVE } from '../sql.ts';

/** A user or worker that proved who it is. */
export interface Account {
  readonly teamId: number;
  readonly team: string;
  readonly id: number;
  readonly identity: string;
  readonly epoch: number;
}

/** A user and their role in the team they log in to. */
export interface UserAccount extends Account {
  readonly role: 'owner' | 'admin' | 'member' | 'viewer';
}

/** The holder of an API token. */
export interface TokenAccount extends UserAccount {
  readonly scopes: ('invoke' | 'read' | 'write')[];
  /** Seconds since 1970; null: never. */
  readonly expiresAt: number | null;
}

/** What a session's holder is at this moment. */
export interface SessionState {
  readonly team: string;
  readonly identity: string;
  readonly role: 'owner' | 'admin' | 'member' | 'viewer' | 'worker' | 'account';
  readonly epoch: number;
  readonly operator: boolean;
}

const BCRYPT_BYTES = 72;
/** Verified in place of a password that is too long for bcrypt, so that it costs the same and is never right. */
const NO_PASSWORD = '\u0001';

/** Checks a password; undefined for an unknown user, a wrong password and a team they do not belong to, at the same cost. */
export async function authenticateUser(
  database: Database,
  team: string,
  identity: string,
  secret: string,
): Promise<UserAccount | undefined> {
  const password = Buffer.byteLength(secret) > BCRYPT_BYTES ? NO_PASSWORD : secret;
  const rows = await database.rows<UserAccount>(
    `select team_id as "teamId", team, user_id as id, identity, role, token_epoch as epoch from triggerfs.authenticate_user($1, $2, $3)`,
    [team, identity, password],
  );
  return rows[0];
}

/** A person without a team. */
export interface PersonAccount {
  readonly id: number;
  readonly identity: string;
  readonly epoch: number;
  /** The account still waits for its activation code. */
  readonly pending: boolean;
}

/** Checks a password without a team; undefined for an unknown user and a wrong password, at the same cost. */
export async function authenticateAccount(database: Database, identity: string, secret: string): Promise<PersonAccount | undefined> {
  const password = Buffer.byteLength(secret) > BCRYPT_BYTES ? NO_PASSWORD : secret;
  const rows = await database.rows<PersonAccount>(
    'select user_id as id, identity, token_epoch as epoch, pending from triggerfs.authenticate_account($1, $2)',
    [identity, password],
  );
  return rows[0];
}

/** Checks a worker's token. */
export async function authenticateWorker(database: Database, team: string, identity: string, token: string): Promise<Account | undefined> {
  const rows = await database.rows<Account>(
    `select team_id as "teamId", team, worker_id as id, identity, token_epoch as epoch from triggerfs.authenticate_worker($1, $2, $3)`,
    [team, identity, hashToken(token)],
  );
  return rows[0];
}

/** Looks up an API token. */
export async function authenticateToken(database: Database, token: string): Promise<TokenAccount | undefined> {
  const rows = await database.rows<TokenAccount>(
    `select team_id as "teamId", team, user_id as id, identity, role, token_epoch as epoch, scopes,
         extract(epoch from expires_at)::float8 as "expiresAt" from triggerfs.authenticate_token($1)`,
    [hashToken(token)],
  );
  return rows[0];
}

/** What a session's holder is now; undefined when the session was revoked, the account is closed or left the team. */
export async function sessionState(
  database: Database,
  kind: string,
  id: number,
  teamId: number,
  sid: string,
): Promise<SessionState | undefined> {
  const rows = await database.rows<SessionState>(
    'select team_name as team, identity, role, epoch, operator from triggerfs.session_state($1, $2, $3, $4)',
    [kind, id, teamId, sid],
  );
  return rows[0];
}

/** Teams that a user belongs to, by name. */
export async function teamsOf(database: Database, userId: number): Promise<{ id: number; name: string; role: UserAccount['role'] }[]> {
  return database.rows('select team_id as id, team as name, role from triggerfs.teams_of_user($1)', [userId]);
}

/** Number of invitations that a user can accept. */
export async function invitationsOf(database: Database, userId: number): Promise<number> {
  const [row] = await database.rows<{ count: number }>('select count(*)::integer as count from triggerfs.invites_of_user($1)', [userId]);
  return row?.count ?? 0;
}

/** Notes that a person's session was opened or renewed, so that they see it in their list. Times are seconds since 1970. */
export async function noteSession(
  database: Database,
  session: { readonly sid: string; readonly userId: number; readonly teamId: number; readonly expiresAt: number },
  client: { readonly address: string; readonly agent: string },
): Promise<void> {
  await database.rows('select triggerfs.note_session($1, $2, $3, $4, $5, to_timestamp($6))', [
    session.sid,
    session.userId,
    session.teamId,
    client.address,
    client.agent,
    session.expiresAt,
  ]);
}

/** Ends a session: its tokens are refused from now on, until they have all expired by themselves. */
export async function revokeSession(tx: Transaction, sid: string, seconds: number): Promise<void> {
  await tx.run(
    `insert into triggerfs.revoked_sessions (session_id, expires_at) values ($1, now() + $2 * interval '1 s') on conflict do nothing`,
    [sid, seconds],
  );
}

/**
 * Brokers that peers may connect to, of one region or of all. A beat counts as recent beside the newest of the fleet: after an
 * outage of the database none has beaten for a while, and yet they route.
 */
export async function reachableBrokers(database: Database, region: string | undefined): Promise<SessionResponse['brokers']> {
  return database.rows<SessionResponse['brokers'][number]>(
    `select id, endpoint, public_key as "publicKey", region from triggerfs.brokers
       where state = 'up' and beat_at > now() - interval '1 hour'
         and beat_at > (select max(n.beat_at) from triggerfs.brokers n where n.state = 'up') - ${ALIVE}
         and ($1::text is null or region = $1) order by started_at`,
    [region ?? null],
  );
}
