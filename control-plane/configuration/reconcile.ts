import { isDeepStrictEqual } from 'node:util';
import { type Row, type Snapshot, TABLES, type Table } from './snapshot.ts';

/** What leads from one state of a table to another. */
export interface TableChanges {
  readonly gone: readonly Row[];
  /** Rows of the target that are there, but otherwise. */
  readonly changed: readonly Row[];
  readonly added: readonly Row[];
}

/** Columns that a rollback restores of a row that is still there. A worker keeps its token: it may have been changed on purpose. */
export const RESTORED: Readonly<Record<Table, readonly string[]>> = {
  workers: ['identity', 'description', 'owner_id'],
  services: [
    ...['name', 'description', 'algorithm', 'timeout_ms', 'window', 'max_errors', 'failover', 'queue_limit', 'visibility', 'plugins'],
    'queue_concurrency',
    ...['history', 'http', 'owner_id'],
  ],
  // Their secrets are elsewhere, and stay.
  hooks: ['service_id', 'name', 'settings'],
  directories: ['path', 'mode', 'owner_id'],
  triggers: [
    ...['directory_id', 'name', 'description', 'mode', 'plugin', 'service_id', 'args', 'timeout_ms', 'framing', 'durability'],
    ...['history', 'visibility', 'owner_id'],
  ],
  schedules: [
    ...[
      'name',
      'description',
      'enabled',
      'cron',
      'every',
      'run_at',
      'timezone',
      'trigger',
      'trigger_id',
      'service',
      'plugin',
      'args',
      'payload',
    ],
    ...['timeout', 'retries', 'catchup', 'catchup_window', 'overlap', 'jitter', 'paused_until', 'resident', 'offline', 'owner_id'],
  ],
};

const KEYS: Readonly<Record<Table, (row: Row) => string>> = {
  workers: (row) => String(row.identity).toLowerCase(),
  services: (row) => String(row.name).toLowerCase(),
  hooks: (row) => String(row.name).toLowerCase(),
  directories: (row) => String(row.path),
  triggers: (row) => `${row.directory_id}/${row.name}`,
  schedules: (row) => String(row.name).toLowerCase(),
};

/**
 * Rewrites a snapshot so that it uses the ids of rows that are there: a row keeps its id where that still exists; else it becomes
 * the row that has its name now (a worker that was deleted and made again keeps its new token). Owners that are gone are dropped.
 */
export function adoptIds(target: Snapshot, current: Snapshot, users: ReadonlySet<number>): Snapshot {
  const none = (): Map<number, number> => new Map();
  const ids: Record<Table, Map<number, number>> = {
    workers: none(),
    services: none(),
    hooks: none(),
    directories: none(),
    triggers: none(),
    schedules: none(),
  };
  const tables: Record<Table, Row[]> = { workers: [], services: [], hooks: [], directories: [], triggers: [], schedules: [] };
  const map = (table: Table, id: unknown): number | null => (typeof id === 'number' ? (ids[table].get(id) ?? null) : null);
  for (const table of TABLES) {
    const rows = target.tables[table].map((row) => ({
      ...row,
      owner_id: users.has(row.owner_id as number) ? row.owner_id : null,
      ...(table === 'triggers' ? { directory_id: map('directories', row.directory_id), service_id: map('services', row.service_id) } : {}),
      ...(table === 'schedules' ? { trigger_id: map('triggers', row.trigger_id) } : {}),
      ...(table === 'hooks' ? { service_id: map('services', row.service_id) } : {}),
    }));
    ids[table] = matchIds(rows, current.tables[table], KEYS[table]);
    tables[table] = rows.map((row) => ({ ...row, id: ids[table].get(row.id) as number }));
  }
  const members = target.members.map((member) => ({
    service_id: map('services', member.service_id) as number,
    worker_id: map('workers', member.worker_id) as number,
  }));
  return { team: target.team, tables, members };
}

/** Id now by id then. */
function matchIds(target: readonly Row[], current: readonly Row[], key: (row: Row) => string): Map<number, number> {
  const present = new Set(current.map(({ id }) => id));
  const wanted = new Set(target.map(({ id }) => id));
  const free = new Map(current.filter(({ id }) => !wanted.has(id)).map((row) => [key(row), row.id]));
  return new Map(target.map((row) => [row.id, present.has(row.id) ? row.id : (free.get(key(row)) ?? row.id)]));
}

/** Compares two states of a table by id. */
export function compareTable(table: Table, target: Snapshot, current: Snapshot): TableChanges {
  const [now, then] = [byId(current.tables[table]), byId(target.tables[table])];
  return {
    gone: current.tables[table].filter(({ id }) => !then.has(id)),
    added: target.tables[table].filter(({ id }) => !now.has(id)),
    changed: target.tables[table].filter((row) => {
      const old = now.get(row.id);
      return old !== undefined && RESTORED[table].some((column) => !isDeepStrictEqual(old[column], row[column]));
    }),
  };
}

/** Services whose workers or their order are others. */
export function changedServices(target: Snapshot, current: Snapshot): readonly number[] {
  const [now, then] = [workersByService(current), workersByService(target)];
  return [...new Set([...now.keys(), ...then.keys()])].filter((id) => !isDeepStrictEqual(now.get(id), then.get(id)));
}

function workersByService(state: Snapshot): Map<number, number[]> {
  const workers = new Map<number, number[]>();
  for (const { service_id, worker_id } of state.members) workers.set(service_id, [...(workers.get(service_id) ?? []), worker_id]);
  return workers;
}

function byId(rows: readonly Row[]): Map<number, Row> {
  return new Map(rows.map((row) => [row.id, row]));
}
