import { TriggerFsError } from '../../protocol/errors.ts';
import type { TeamView } from '../../protocol/http/team.ts';
import type { Principal } from '../auth/principal.ts';
import type { Transaction } from '../database.ts';
import { Assignments, iso } from '../sql.ts';

const COLUMNS = `t.id, t.name, t.description, ${iso('t.created_at')} as "createdAt", ${iso('t.updated_at')} as "updatedAt"`;

/** Names and roles of all teams that a user belongs to. */
export async function listTeams(tx: Transaction, userId: number): Promise<{ id: number; name: string; role: TeamView['role'] }[]> {
  return tx.rows('select team_id as id, team as name, role from triggerfs.teams_of_user($1)', [userId]);
}

/** The team of this session. */
export async function currentTeam(tx: Transaction, principal: Principal): Promise<TeamView> {
  const [team] = await tx.rows<Omit<TeamView, 'role'>>(`select ${COLUMNS} from triggerfs.teams t where t.id = $1`, [principal.teamId]);
  if (team === undefined || principal.role === 'worker' || principal.role === 'account')
    throw new TriggerFsError('TFS_UNKNOWN_TEAM', 'the team is gone');
  return { ...team, role: principal.role };
}

/** Makes a team with its founder as owner; returns its id. */
export async function createTeam(tx: Transaction, userId: number, name: string, description: string): Promise<number> {
  const [row] = await tx.rows<{ id: number }>('select triggerfs.create_team($1, $2, $3) as id', [name, description, userId]);
  return (row as { id: number }).id;
}

/** Changes the team of this session. */
export async function changeTeam(tx: Transaction, teamId: number, change: { name?: string; description?: string }): Promise<void> {
  const assignments = new Assignments(teamId).set('name', change.name).set('description', change.description);
  await tx.run(`update triggerfs.teams set ${assignments.sql} where id = $1`, assignments.values);
}

/** Deletes the team of this session with everything in it, and accounts that belong to no other team. */
export async function deleteTeam(tx: Transaction, teamId: number): Promise<void> {
  const members = await tx.rows<{ id: number }>('select user_id as id from triggerfs.memberships where team_id = $1', [teamId]);
  await tx.run('delete from triggerfs.teams where id = $1', [teamId]);
  for (const { id } of members) await tx.rows('select triggerfs.delete_stranded_user($1)', [id]);
}
