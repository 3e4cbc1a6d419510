import { TriggerFsError } from '../../protocol/errors.ts';
import type { Role } from '../../protocol/http/common.ts';
import type { UserView } from '../../protocol/http/user.ts';
import type { Transaction } from '../database.ts';
import { iso, oneOf } from '../sql.ts';

const MEMBERS = `select u.id, u.identity, u.email, m.role, u.active, ${iso('m.created_at')} as "createdAt", ${iso('u.updated_at')} as "updatedAt"
  from triggerfs.memberships m join triggerfs.users u on u.id = m.user_id where m.team_id = $1`;

/** Members of a team. */
export function listMembers(tx: Transaction, teamId: number): Promise<UserView[]> {
  return tx.rows<UserView>(`${MEMBERS} order by u.id`, [teamId]);
}

/** A member by identity or id (a number is always an id). @throws TriggerFsError TFS_NOT_FOUND */
export async function findMember(tx: Transaction, teamId: number, name: string | number): Promise<UserView> {
  const where = oneOf(name, 'u.identity', 'u.id', '$2');
  const [member] = await tx.rows<UserView>(`${MEMBERS} and ${where}`, [teamId, name]);
  if (member === undefined) throw new TriggerFsError('TFS_NOT_FOUND', `the team has no member ${name}`);
  return member;
}

/** Makes an account. The password is hashed in the database and kept nowhere else. */
export async function createAccount(
  tx: Transaction,
  account: { identity: string; email: string | null; secret: string; cost: number },
): Promise<number> {
  const [row] = await tx.rows<{ id: number }>(
    `insert into triggerfs.users (identity, email, secret_hash) values ($1, $2, crypt($3, gen_salt('bf', $4))) returning id`,
    [account.identity, account.email, account.secret, account.cost],
  );
  return (row as { id: number }).id;
}

/** Lets an account join a team. */
export async function addMember(tx: Transaction, teamId: number, userId: number, role: Role): Promise<void> {
  await tx.run('insert into triggerfs.memberships (team_id, user_id, role) values ($1, $2, $3)', [teamId, userId, role]);
}

/** Changes the role of a member. @throws TriggerFsError TFS_CONFLICT for the last owner */
export async function changeRole(tx: Transaction, teamId: number, userId: number, role: Role): Promise<void> {
  if (role !== 'owner') await assertAnotherOwner(tx, teamId, userId);
  await tx.run('update triggerfs.memberships set role = $3 where team_id = $1 and user_id = $2', [teamId, userId, role]);
}

/** Lets a member go by themselves; their account stays. @throws TriggerFsError TFS_CONFLICT for the last owner */
export async function leaveTeam(tx: Transaction, teamId: number, userId: number): Promise<void> {
  await assertAnotherOwner(tx, teamId, userId);
  await tx.run('delete from triggerfs.memberships where team_id = $1 and user_id = $2', [teamId, userId]);
}

/** Takes a member out of a team; an account that others made goes with its last team. @throws TriggerFsError TFS_CONFLICT for the last owner */
export async function removeMember(tx: Transaction, teamId: number, userId: number): Promise<void> {
  await leaveTeam(tx, teamId, userId);
  await tx.rows('select triggerfs.delete_stranded_user($1)', [userId]);
}

/** Changes a password and ends all sessions of the user. False: the current one is wrong. */
export async function changePassword(
  tx: Transaction,
  userId: number,
  change: { current: string; next: string; cost: number },
): Promise<boolean> {
  const [row] = await tx.rows<{ changed: boolean }>('select triggerfs.change_password($1, $2, $3, $4) as changed', [
    userId,
    change.current,
    change.next,
    change.cost,
  ]);
  return row?.changed === true;
}

/** Locks the owners, so that two of them cannot leave at once. */
async function assertAnotherOwner(tx: Transaction, teamId: number, userId: number): Promise<void> {
  const owners = await tx.rows<{ id: number }>(
    `select user_id as id from triggerfs.memberships where team_id = $1 and role = 'owner' order by user_id for update`,
    [teamId],
  );
  if (owners.length === 1 && owners[0]?.id === userId) {
    throw new TriggerFsError('TFS_CONFLICT', 'a team needs an owner; make another member owner first');
  }
}
