import type { Transaction } from '../database.ts';

/** A row as JSON, with its columns' names. */
export type Row = { readonly id: number; readonly [column: string]: unknown };

/** The tables of a team's configuration, each before those that refer to it. */
export const TABLES = ['workers', 'services', 'hooks', 'directories', 'triggers', 'schedules'] as const;
export type Table = (typeof TABLES)[number];

/** A team's whole configuration, of all owners; without the hashes of tokens, which no rollback brings back. */
export interface Snapshot {
  readonly team: { readonly name: string; readonly description: string };
  readonly tables: Readonly<Record<Table, readonly Row[]>>;
  /** In attach order. */
  readonly members: readonly { readonly service_id: number; readonly worker_id: number }[];
}

/** `rollback` reaches this far back; older snapshots are dropped. */
const KEPT = 50;

/** Reads the state of a team. */
export async function readSnapshot(tx: Transaction, teamId: number): Promise<Snapshot> {
  const rows = (table: Table): string =>
    `(select coalesce(jsonb_agg(to_jsonb(r) - 'token_hash' order by r.id), '[]') from triggerfs.${table} r where r.team_id = $1)`;
  const [row] = await tx.rows<{ state: Snapshot }>(
    `select jsonb_build_object(
       'team', (select jsonb_build_object('name', t.name, 'description', t.description) from triggerfs.teams t where t.id = $1),
       'tables', jsonb_build_object(${TABLES.map((table) => `'${table}', ${rows(table)}`).join(', ')}),
       'members', (select coalesce(jsonb_agg(jsonb_build_object('service_id', m.service_id, 'worker_id', m.worker_id) order by m.position), '[]')
         from triggerfs.service_members m where m.team_id = $1)) as state`,
    [teamId],
  );
  return (row as { state: Snapshot }).state;
}

/** Keeps the state before a commit. */
export async function saveSnapshot(tx: Transaction, teamId: number, commitId: number, state: Snapshot): Promise<void> {
  await tx.run('insert into triggerfs.configuration_snapshots (team_id, commit_id, state) values ($1, $2, $3)', [
    teamId,
    commitId,
    JSON.stringify(state),
  ]);
  await tx.run(
    `delete from triggerfs.configuration_snapshots where team_id = $1 and commit_id <= (
       select commit_id from triggerfs.configuration_snapshots where team_id = $1 order by commit_id desc offset ${KEPT} limit 1)`,
    [teamId],
  );
}

/** The state before the last commit (1), the one before that (2), ...; null when it is not kept. */
export async function findSnapshot(tx: Transaction, teamId: number, number: number): Promise<Snapshot | null> {
  const [row] = await tx.rows<{ state: Snapshot }>(
    'select state from triggerfs.configuration_snapshots where team_id = $1 order by commit_id desc offset $2 limit 1',
    [teamId, number - 1],
  );
  return row?.state ?? null;
}

/** The state before a certain commit; null when it is not kept. */
export async function snapshotOf(tx: Transaction, teamId: number, commitId: number): Promise<Snapshot | null> {
  const sql = 'select state from triggerfs.configuration_snapshots where team_id = $1 and commit_id = $2';
  const [row] = await tx.rows<{ state: Snapshot }>(sql, [teamId, commitId]);
  return row?.state ?? null;
}
