import { TriggerFsError } from '../../protocol/errors.ts';
import type { DirectoryView } from '../../protocol/http/directory.ts';
import { isTreePath } from '../../protocol/names.ts';
import type { Principal } from '../auth/principal.ts';
import type { Transaction } from '../database.ts';
import { iso } from '../sql.ts';

/** A directory with what decides who may change it. */
export interface DirectoryRow extends DirectoryView {
  readonly ownerId: number | null;
}

const DIRECTORIES = `select d.id, d.path, d.mode, o.identity as owner, d.owner_id as "ownerId",
    ${iso('d.created_at')} as "createdAt", ${iso('d.updated_at')} as "updatedAt"
  from triggerfs.directories d left join triggerfs.users o on o.id = d.owner_id where d.team_id = $1`;

/** @throws TriggerFsError TFS_BAD_NAME unless the text is an absolute, normalized path without hidden segments */
export function assertPath(path: string): void {
  if (isTreePath(path) && path !== '/' && !path.includes('/.')) return;
  throw new TriggerFsError('TFS_BAD_NAME', `${JSON.stringify(path)} is no path of the file tree, such as /demo/command`);
}

/** All directories of a team. */
export function listDirectories(tx: Transaction, teamId: number): Promise<DirectoryRow[]> {
  return tx.rows<DirectoryRow>(`${DIRECTORIES} order by d.path`, [teamId]);
}

/** A directory by path, with or without its leading slash, or by id (a number is always an id). @throws TriggerFsError TFS_NOT_FOUND */
export async function findDirectory(tx: Transaction, teamId: number, name: string | number): Promise<DirectoryRow> {
  const where =
    typeof name === 'number' ? 'd.id = $2' : `(d.path = $2 or d.path = '/' || $2 or d.id::text = $2) order by d.id::text = $2 limit 1`;
  const [directory] = await tx.rows<DirectoryRow>(`${DIRECTORIES} and ${where}`, [teamId, name]);
  if (directory === undefined) throw new TriggerFsError('TFS_NOT_FOUND', `there is no directory ${name}`);
  return directory;
}

/** Makes a directory; returns its id. */
export async function createDirectory(tx: Transaction, principal: Principal, path: string, mode: number): Promise<number> {
  const [row] = await tx.rows<{ id: number }>(
    'insert into triggerfs.directories (team_id, path, mode, owner_id) values ($1, $2, $3, $4) returning id',
    [principal.teamId, path, mode, principal.id],
  );
  return (row as { id: number }).id;
}

/** Moves a directory with everything in it. @throws TriggerFsError TFS_BAD_REQUEST into itself */
export async function moveDirectory(tx: Transaction, teamId: number, from: string, to: string): Promise<void> {
  if (to === from) return;
  if (to.startsWith(`${from}/`)) throw new TriggerFsError('TFS_BAD_REQUEST', `${from} cannot be moved into itself`);
  await tx.rows('select triggerfs.move_directory($1, $2, $3)', [teamId, from, to]);
}

/** Sets the permission bits of a directory. */
export async function changeMode(tx: Transaction, teamId: number, id: number, mode: number): Promise<void> {
  await tx.run('update triggerfs.directories set mode = $3 where team_id = $1 and id = $2', [teamId, id, mode]);
}

/** Deletes an empty directory. */
export async function deleteDirectory(tx: Transaction, teamId: number, id: number): Promise<void> {
  await tx.run('delete from triggerfs.directories where team_id = $1 and id = $2', [teamId, id]);
}
