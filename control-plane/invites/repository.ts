import { TriggerFsError } from '../../protocol/errors.ts';
import type { Role } from '../../protocol/http/common.ts';
import type { InvitationView, InviteView, Joined } from '../../protocol/http/invite.ts';
import type { Principal } from '../auth/principal.ts';
import type { Transaction } from '../database.ts';
import { iso } from '../sql.ts';

/** Someone who is invited: an account, or an address that may belong to one. */
export interface Invited {
  /** Null: nobody is known by that address. */
  readonly userId: number | null;
  readonly identity: string | null;
  readonly email: string | null;
}

const INVITES = `select i.id, u.identity, i.email, i.role, h.identity as "invitedBy", ${iso('i.created_at')} as "createdAt",
    ${iso('i.expires_at')} as "expiresAt"
  from triggerfs.invites i join triggerfs.users h on h.id = i.invited_by left join triggerfs.users u on u.id = i.user_id
  where i.team_id = $1 and i.expires_at > now()`;

/** Open invitations of a team. */
export function listInvites(tx: Transaction, teamId: number): Promise<InviteView[]> {
  return tx.rows<InviteView>(`${INVITES} order by i.id`, [teamId]);
}

/** An invitation of a team. @throws TriggerFsError TFS_NOT_FOUND */
export async function findInvite(tx: Transaction, teamId: number, id: number): Promise<InviteView> {
  const [invite] = await tx.rows<InviteView>(`${INVITES} and i.id = $2`, [teamId, id]);
  if (invite === undefined) throw new TriggerFsError('TFS_NOT_FOUND', `the team has no invitation ${id}`);
  return invite;
}

/** The account with an identity. @throws TriggerFsError TFS_NOT_FOUND */
export async function invitedByIdentity(tx: Transaction, identity: string): Promise<Invited> {
  const [user] = await tx.rows<{ userId: number; identity: string; email: string | null }>(
    `select id as "userId", identity, case when signed_up then email end as email from triggerfs.users where lower(identity) = lower($1) and active`,
    [identity],
  );
  if (user === undefined)
    throw new TriggerFsError('TFS_NOT_FOUND', `there is no user ${identity}; invite by mail address who has no account yet`);
  return user;
}

/** Whoever proved to have an address, or nobody yet. */
export async function invitedByEmail(tx: Transaction, email: string): Promise<Invited> {
  const [user] = await tx.rows<{ userId: number; identity: string }>(
    'select id as "userId", identity from triggerfs.users where lower(email) = lower($1) and signed_up and active',
    [email],
  );
  return { userId: user?.userId ?? null, identity: user?.identity ?? null, email };
}

/** Makes an invitation; returns its id. @throws TriggerFsError TFS_CONFLICT for members */
export async function createInvite(
  tx: Transaction,
  principal: Principal,
  to: { readonly userId: number } | { readonly email: string },
  role: Role,
): Promise<number> {
  const [userId, email] = 'userId' in to ? [to.userId, null] : [null, to.email];
  const members = await tx.rows(
    `select from triggerfs.memberships m join triggerfs.users u on u.id = m.user_id
     where m.team_id = $1 and (u.id = $2 or lower(u.email) = lower($3))`,
    [principal.teamId, userId, email],
  );
  if (members.length > 0) throw new TriggerFsError('TFS_CONFLICT', 'the user is a member of the team already');
  await tx.run('delete from triggerfs.invites where team_id = $1 and expires_at <= now()', [principal.teamId]);
  const [row] = await tx.rows<{ id: number }>(
    'insert into triggerfs.invites (team_id, user_id, email, role, invited_by) values ($1, $2, $3, $4, $5) returning id',
    [principal.teamId, userId, email, role, principal.id],
  );
  return (row as { id: number }).id;
}

/** Withdraws an invitation. */
export async function deleteInvite(tx: Transaction, teamId: number, id: number): Promise<void> {
  await tx.run('delete from triggerfs.invites where team_id = $1 and id = $2', [teamId, id]);
}

/** Invitations that a user can accept. */
export function listInvitations(tx: Transaction, userId: number): Promise<InvitationView[]> {
  return tx.rows<InvitationView>(
    `select id, team, role, invited_by as "invitedBy", ${iso('created_at')} as "createdAt", ${iso('expires_at')} as "expiresAt"
     from triggerfs.invites_of_user($1)`,
    [userId],
  );
}

/** Joins the team of an invitation. @throws TriggerFsError TFS_NOT_FOUND, TFS_LIMIT (the team's plan) */
export async function acceptInvitation(tx: Transaction, userId: number, id: number): Promise<Joined> {
  const [joined] = await tx.rows<Joined>('select team_id as id, team, role from triggerfs.accept_invite($1, $2)', [userId, id]);
  if (joined === undefined) throw noInvitation(id);
  return joined;
}

/** Throws an invitation away. @throws TriggerFsError TFS_NOT_FOUND */
export async function declineInvitation(tx: Transaction, userId: number, id: number): Promise<void> {
  const [row] = await tx.rows<{ declined: boolean }>('select triggerfs.decline_invite($1, $2) as declined', [userId, id]);
  if (row?.declined !== true) throw noInvitation(id);
}

function noInvitation(id: number): TriggerFsError {
  return new TriggerFsError('TFS_NOT_FOUND', `you have no invitation ${id}`);
}
