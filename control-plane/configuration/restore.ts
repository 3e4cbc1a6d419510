import { randomUUID } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import { hashToken } from '../../runtime/tokens.ts';
import type { Transaction } from '../database.ts';
import { needsSecret } from '../services/hooks.ts';
import { adoptIds, changedServices, compareTable, RESTORED, type TableChanges } from './reconcile.ts';
import { type Row, readSnapshot, type Snapshot, type Table } from './snapshot.ts';

const UNIQUE_VIOLATION = '23505';
/** Seconds since then fit the column until 2088. */
const EPOCH_START = Date.UTC(2020, 0);

/** Column that names a row of a table, and what it is called while others take its name. Workers and services share one namespace. */
const PARKED: Readonly<Record<Table, readonly [column: string, value: string]>> = {
  workers: ['identity', `'_rollback.worker.' || id`],
  services: ['name', `'_rollback.service.' || id`],
  hooks: ['name', `'_rollback.hook.' || id`],
  directories: ['path', `'/_rollback.' || id`],
  triggers: ['name', `'_rollback.' || id`],
  schedules: ['name', `'_rollback.schedule.' || id`],
};

/**
 * Brings a team back to a snapshot, touching only rows that differ; its name and description only for an owner. Rows that are gone
 * come back with their ids, workers with a token that nobody knows: they may have been deleted because the old one leaked.
 * Everything that changes its name or place is parked first, so that names may have been exchanged. Returns what its author should know.
 */
export async function restoreSnapshot(tx: Transaction, teamId: number, snapshot: Snapshot, byOwner: boolean): Promise<string[]> {
  const current = await readSnapshot(tx, teamId);
  // Snapshots from before there were schedules say nothing about them.
  const saved = { ...snapshot, tables: { ...current.tables, ...snapshot.tables } };
  const owners = Object.values(saved.tables).flatMap((rows) => rows.map(({ owner_id }) => owner_id));
  const users = await tx.rows<{ id: number }>('select id from triggerfs.users where id = any($1::integer[])', [owners]);
  const target = adoptIds(saved, current, new Set(users.map(({ id }) => id)));
  const changes = (table: Table): TableChanges => compareTable(table, target, current);
  const restore = new Restore(tx, teamId);
  const [workers, services, hooks] = [changes('workers'), changes('services'), changes('hooks')];
  const [directories, triggers] = [changes('directories'), changes('triggers')];

  const leavesTeam = !byOwner && !isDeepStrictEqual(target.team, current.team);
  const schedules = changes('schedules');
  // They come back as they were, also where what they run was gone already.
  await tx.rows(`select set_config('app.restoring', 'on', true)`);
  if (byOwner) await restore.team(target);
  await restore.remove('schedules', schedules.gone);
  await restore.park('schedules', schedules.changed);
  await restore.remove('triggers', triggers.gone);
  await restore.park('triggers', triggers.changed);
  const members = changedServices(target, current);
  await restore.detach(members);
  await restore.remove('hooks', hooks.gone);
  await restore.park('hooks', hooks.changed);
  await restore.remove('services', services.gone);
  await restore.remove('workers', workers.gone);
  await restore.park('workers', workers.changed);
  await restore.park('services', services.changed);
  await restore.put('workers', workers);
  await restore.put('services', services);
  await restore.put('hooks', hooks);
  await restore.park('directories', [...directories.gone, ...directories.changed]);
  await restore.put('directories', directories);
  await restore.put('triggers', triggers);
  await restore.put('schedules', schedules);
  await restore.remove('directories', directories.gone);
  await restore.attach(target, members);
  return [
    ...(leavesTeam ? ["the team's name and description stay as they are: only owners change them"] : []),
    ...workers.added.map(({ identity }) => `the worker ${identity} needs a new token: request worker ${identity} token`),
    ...hooks.added.map(({ name, service_id }) => needsSecret(nameOf(target.tables.services, service_id), String(name))),
  ];
}

/** Statements of one rollback. Tables and columns come from code, values from the snapshot. */
class Restore {
  readonly #tx: Transaction;
  readonly #teamId: number;

  constructor(tx: Transaction, teamId: number) {
    this.#tx = tx;
    this.#teamId = teamId;
  }

  /** The old name comes back only if no other team has taken it: that must not stand in the way of the rest. */
  async team({ team }: Snapshot): Promise<void> {
    await this.#tx.run('update triggerfs.teams set description = $2 where id = $1 and description <> $2', [this.#teamId, team.description]);
    await this.#tx.run('savepoint team_name');
    try {
      await this.#tx.run('update triggerfs.teams set name = $2 where id = $1 and name <> $2', [this.#teamId, team.name]);
    } catch (error) {
      if ((error as { code?: string }).code !== UNIQUE_VIOLATION) throw error;
      await this.#tx.run('rollback to savepoint team_name');
    }
  }

  async remove(table: Table, rows: readonly Row[]): Promise<void> {
    if (rows.length === 0) return;
    await this.#tx.run(`delete from triggerfs.${table} where team_id = $1 and id = any($2::integer[])`, [this.#teamId, idsOf(rows)]);
  }

  async park(table: Table, rows: readonly Row[]): Promise<void> {
    if (rows.length === 0) return;
    const [column, value] = PARKED[table];
    const sql = `update triggerfs.${table} set ${column} = ${value} where team_id = $1 and id = any($2::integer[])`;
    await this.#tx.run(sql, [this.#teamId, idsOf(rows)]);
  }

  /** Directories go parents first, since each checks that its parent is there. */
  async put(table: Table, { changed, added }: TableChanges): Promise<void> {
    const known = new Set(idsOf(changed));
    const rows =
      table === 'directories'
        ? [...changed, ...added].toSorted((a, b) => (String(a.path) < String(b.path) ? -1 : 1))
        : [...changed, ...added];
    for (const row of rows) {
      // A hook may have gone with the service that it had meanwhile.
      if (!known.has(row.id) || !(await this.#update(table, row))) await this.#insert(table, row);
    }
  }

  async detach(serviceIds: readonly number[]): Promise<void> {
    if (serviceIds.length === 0) return;
    const sql = 'delete from triggerfs.service_members where team_id = $1 and service_id = any($2::integer[])';
    await this.#tx.run(sql, [this.#teamId, serviceIds]);
  }

  async attach(target: Snapshot, serviceIds: readonly number[]): Promise<void> {
    const members = target.members.filter(({ service_id }) => serviceIds.includes(service_id));
    if (members.length === 0) return;
    await this.#tx.run(
      `insert into triggerfs.service_members (team_id, service_id, worker_id)
       select $1, m.service_id, m.worker_id from unnest($2::integer[], $3::integer[]) with ordinality as m (service_id, worker_id, n) order by m.n`,
      [this.#teamId, members.map(({ service_id }) => service_id), members.map(({ worker_id }) => worker_id)],
    );
  }

  /** False: it is gone. */
  async #update(table: Table, row: Row): Promise<boolean> {
    const columns = RESTORED[table].map((column) => `"${column}"`).join(', ');
    const rows = await this.#tx.run(
      `update triggerfs.${table} set (${columns}) = (select ${columns} from jsonb_populate_record(null::triggerfs.${table}, $3::jsonb))
       where team_id = $1 and id = $2`,
      [this.#teamId, row.id, JSON.stringify(row)],
    );
    return rows > 0;
  }

  async #insert(table: Table, row: Row): Promise<void> {
    const whole = table === 'workers' ? { ...row, ...freshCredentials(row) } : row;
    await this.#tx.run(
      `insert into triggerfs.${table} overriding system value select r.* from jsonb_populate_record(null::triggerfs.${table}, $1::jsonb) r`,
      [JSON.stringify({ ...whole, team_id: this.#teamId })],
    );
  }
}

/**
 * A token that nobody knows, and an epoch above each the worker may have reached before it was deleted, which is unknown here: the
 * seconds since 2020 outrun any number of new tokens. So nothing that was signed for it before is admitted again.
 */
function freshCredentials(worker: Row): { token_hash: string; token_epoch: number } {
  const seconds = Math.floor((Date.now() - EPOCH_START) / 1000);
  return { token_hash: `\\x${hashToken(randomUUID()).toString('hex')}`, token_epoch: Math.max(seconds, Number(worker.token_epoch) + 1) };
}

function nameOf(rows: readonly Row[], id: unknown): string {
  return String(rows.find((row) => row.id === id)?.name);
}

function idsOf(rows: readonly Row[]): number[] {
  return rows.map(({ id }) => id);
}
