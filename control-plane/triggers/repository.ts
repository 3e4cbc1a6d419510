import { TriggerFsError } from '../../protocol/errors.ts';
import type { TriggerChange, TriggerView } from '../../protocol/http/trigger.ts';
import { isAdmin, type Principal } from '../auth/principal.ts';
import type { Transaction } from '../database.ts';
import { findDirectory } from '../directories/repository.ts';
import { findService } from '../services/repository.ts';
import { Assignments, iso, visible } from '../sql.ts';

/** A trigger with what decides who may change it. */
export interface TriggerRow extends TriggerView {
  readonly ownerId: number | null;
}

const TRIGGERS = `select t.id, t.name, d.path || '/' || t.name as path, t.description, t.mode, t.plugin, s.name as service, t.args,
    t.timeout_ms as "timeoutMs", t.framing, t.durability, t.history, t.visibility, o.identity as owner, t.owner_id as "ownerId",
    coalesce(h.hits, 0)::float8 as hits, ${iso('h.last_hit_at')} as "lastHitAt",
    ${iso('t.created_at')} as "createdAt", ${iso('t.updated_at')} as "updatedAt"
  from triggerfs.triggers t
  join triggerfs.directories d on d.team_id = t.team_id and d.id = t.directory_id
  left join triggerfs.services s on s.team_id = t.team_id and s.id = t.service_id
  left join triggerfs.trigger_hits h on h.team_id = t.team_id and h.trigger_id = t.id
  left join triggerfs.users o on o.id = t.owner_id
  where t.team_id = $1 and ${visible('t', '$2', '$3')}`;

function viewer(principal: Principal): unknown[] {
  return [principal.teamId, principal.id, isAdmin(principal)];
}

/** Triggers that the caller sees. */
export function listTriggers(tx: Transaction, principal: Principal): Promise<TriggerRow[]> {
  return tx.rows<TriggerRow>(`${TRIGGERS} order by path`, viewer(principal));
}

/**
 * A trigger by path, by its bare name where that is unambiguous, or by id (a number is always an id).
 * @throws TriggerFsError TFS_NOT_FOUND, or TFS_CONFLICT for a name in several directories
 */
export async function findTrigger(tx: Transaction, principal: Principal, name: string | number): Promise<TriggerRow> {
  const where = typeof name === 'number' ? 't.id = $4' : `(d.path || '/' || t.name in ($4, '/' || $4) or t.name = $4 or t.id::text = $4)`;
  const found = await tx.rows<TriggerRow>(`${TRIGGERS} and ${where}`, [...viewer(principal), name]);
  const path = `/${name}`.replace('//', '/');
  const exact = found.find((trigger) => trigger.path === path) ?? (found.length === 1 ? found[0] : undefined);
  if (exact !== undefined) return exact;
  const byName = found.filter((trigger) => trigger.name === name);
  if (byName.length === 1) return byName[0] as TriggerRow;
  if (byName.length > 1) {
    throw new TriggerFsError('TFS_CONFLICT', `several triggers are named ${name}: ${byName.map((trigger) => trigger.path).join(', ')}`);
  }
  throw new TriggerFsError('TFS_NOT_FOUND', `there is no trigger ${name}`);
}

/** Makes a trigger without a rule, seen only by its owner until its visibility is raised. Returns its id. */
export async function createTrigger(tx: Transaction, principal: Principal, path: string): Promise<number> {
  const { directoryId, name } = await place(tx, principal.teamId, path);
  const [row] = await tx.rows<{ id: number }>(
    `insert into triggerfs.triggers (team_id, directory_id, name, visibility, owner_id) values ($1, $2, $3, 'local', $4) returning id`,
    [principal.teamId, directoryId, name, principal.id],
  );
  return (row as { id: number }).id;
}

/** Changes a trigger; another path moves it. */
export async function changeTrigger(tx: Transaction, principal: Principal, id: number, change: TriggerChange): Promise<void> {
  const assignments = new Assignments(principal.teamId, id)
    .set('description', change.description)
    .set('mode', change.mode)
    .set('plugin', change.plugin)
    .set('args', change.args === undefined ? undefined : JSON.stringify(change.args))
    .set('timeout_ms', change.timeoutMs)
    .set('framing', change.framing)
    .set('durability', change.durability)
    .set('history', change.history)
    .set('visibility', change.visibility);
  if (change.path !== undefined) {
    const { directoryId, name } = await place(tx, principal.teamId, change.path);
    assignments.set('directory_id', directoryId).set('name', name);
  }
  if (change.service !== undefined) {
    assignments.set('service_id', change.service === null ? null : (await findService(tx, principal, change.service)).id);
  }
  if (assignments.isEmpty) return;
  await tx.run(`update triggerfs.triggers set ${assignments.sql} where team_id = $1 and id = $2`, assignments.values);
}

/** Deletes a trigger. */
export async function deleteTrigger(tx: Transaction, teamId: number, id: number): Promise<void> {
  await tx.run('delete from triggerfs.triggers where team_id = $1 and id = $2', [teamId, id]);
}

async function place(tx: Transaction, teamId: number, path: string): Promise<{ directoryId: number; name: string }> {
  const end = path.lastIndexOf('/');
  if (end === 0) throw new TriggerFsError('TFS_BAD_REQUEST', `${path}: triggers live in directories, not in the root directory`);
  const directory = await findDirectory(tx, teamId, path.slice(0, end));
  return { directoryId: directory.id, name: path.slice(end + 1) };
}
