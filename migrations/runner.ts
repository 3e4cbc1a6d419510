import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Logger, runMigrations } from 'graphile-worker';
import pg from 'pg';
import { PgBoss } from 'pg-boss';
import { TriggerFsError } from '../protocol/errors.ts';
import { packageRoot } from '../runtime/package-root.ts';
import { type MigrationFile, readMigrations } from './files.ts';

/** Options of `migrate` and `migrationStatus`. */
export interface MigrateOptions {
  /** Address of the database's owner. */
  readonly url: string;
  /** Default: the package's own migrations. */
  readonly folder?: string;
  /** How long to wait for another runner, in milliseconds. Default 120000. */
  readonly waitMs?: number;
}

/** A migration and when it was applied; null when it is still to come. */
export interface MigrationStatus {
  readonly version: number;
  readonly name: string;
  readonly appliedAt: Date | null;
}

interface LedgerRow {
  version: number;
  name: string;
  sha256: string;
  applied_at: Date;
}

/** Advisory lock of the runners, per database. */
const LOCK = 7_420_318_651;

/**
 * Brings a database up to date: graphile-worker, then pg-boss, then the files, since those refer to both.
 * Safe to run from several processes at once: the others wait and find nothing to do. Returns the names of what it applied.
 * @throws TriggerFsError TFS_MIGRATION (a file was edited or inserted, or fails), TFS_DATABASE_NEWER, TFS_UNAVAILABLE
 */
export async function migrate(options: MigrateOptions): Promise<readonly string[]> {
  const files = await readMigrations(options.folder ?? join(packageRoot(), 'migrations'));
  return withClient(options.url, async (client) => {
    await lock(client, options.waitMs ?? 120_000);
    const pending = plan(files, await readLedger(client));
    await installLibraries(options.url);
    await client.query(`create schema if not exists triggerfs;
      create table if not exists triggerfs.migrations (
        version integer primary key, name text not null, sha256 text not null, applied_at timestamptz(3) not null default now(), ms integer
      )`);
    for (const file of pending) await apply(client, file);
    return pending.map((file) => file.name);
  });
}

/** Which migrations are applied and which are to come, without changing anything. @throws like `migrate` */
export async function migrationStatus(options: MigrateOptions): Promise<readonly MigrationStatus[]> {
  const files = await readMigrations(options.folder ?? join(packageRoot(), 'migrations'));
  return withClient(options.url, async (client) => {
    const ledger = await readLedger(client);
    plan(files, ledger);
    return files.map(({ version, name }) => ({
      version,
      name,
      appliedAt: ledger.find((row) => row.version === version)?.applied_at ?? null,
    }));
  });
}

/** The files to apply, after comparing those applied with what the database remembers. */
function plan(files: readonly MigrationFile[], ledger: readonly LedgerRow[]): readonly MigrationFile[] {
  const newest = files.length;
  for (const row of ledger) {
    if (row.version > newest) {
      throw new TriggerFsError(
        'TFS_DATABASE_NEWER',
        `the database has migration ${row.name}, this triggerFS knows migrations up to ${newest}`,
      );
    }
    const file = files[row.version - 1] as MigrationFile;
    if (file.name !== row.name)
      throw new TriggerFsError('TFS_MIGRATION', `migration ${row.name} was applied, but the file is ${file.name} now`);
    if (file.sha256 !== row.sha256) throw new TriggerFsError('TFS_MIGRATION', `migration ${row.name} was edited after it was applied`);
  }
  const applied = new Set(ledger.map((row) => row.version));
  const last = Math.max(0, ...applied);
  const skipped = files.find((file) => file.version < last && !applied.has(file.version));
  if (skipped !== undefined) throw new TriggerFsError('TFS_MIGRATION', `migration ${skipped.name} was not applied, but number ${last} was`);
  return files.filter((file) => file.version > last);
}

async function apply(client: pg.Client, file: MigrationFile): Promise<void> {
  const started = performance.now();
  const record = 'insert into triggerfs.migrations (version, name, sha256) values ($1, $2, $3)';
  const finish = 'update triggerfs.migrations set ms = $2 where version = $1';
  const values = [file.version, file.name, file.sha256];
  try {
    if (file.transaction) {
      await client.query('begin');
      await client.query(record, values);
      await client.query(file.sql);
      await client.query(finish, [file.version, Math.round(performance.now() - started)]);
      await client.query('commit');
      return;
    }
    // Without a transaction each statement stands alone; such files must be safe to repeat after a failure in the middle.
    for (const statement of file.sql.split(/;\s*$/m)) if (statement.trim() !== '') await client.query(statement);
    await client.query(record, values);
    await client.query(finish, [file.version, Math.round(performance.now() - started)]);
  } catch (cause) {
    await client.query('rollback').catch(() => undefined);
    const { message, position } = cause as { message: string; position?: string };
    const line = position === undefined ? '' : `:${file.sql.slice(0, Number(position)).split('\n').length}`;
    throw new TriggerFsError('TFS_MIGRATION', `migration ${file.name}${line} failed: ${message}`, { cause });
  }
}

async function readLedger(client: pg.Client): Promise<readonly LedgerRow[]> {
  const { rows } = await client.query<{ found: string | null }>(`select to_regclass('triggerfs.migrations') as found`);
  if (rows[0]?.found === null) return [];
  return (await client.query<LedgerRow>('select version, name, sha256, applied_at from triggerfs.migrations order by version')).rows;
}

async function installLibraries(url: string): Promise<void> {
  try {
    await runMigrations({ connectionString: url, logger: new Logger(() => () => undefined) });
    const boss = new PgBoss({ connectionString: url, migrate: true, supervise: false, schedule: false, max: 1 });
    boss.on('error', () => undefined);
    await boss.start();
    await boss.stop({ graceful: false });
  } catch (cause) {
    throw new TriggerFsError('TFS_MIGRATION', `cannot install the queue schemas: ${(cause as Error).message}`, { cause });
  }
}

/** Asks again and again instead of waiting in the database: a waiting statement would hold up CREATE INDEX CONCURRENTLY for ever. */
async function lock(client: pg.Client, waitMs: number): Promise<void> {
  for (const end = Date.now() + waitMs; ; await sleep(100)) {
    const { rows } = await client.query<{ locked: boolean }>('select pg_try_advisory_lock($1) as locked', [LOCK]);
    if (rows[0]?.locked === true) return;
    if (Date.now() > end) throw new TriggerFsError('TFS_UNAVAILABLE', `another process has been migrating this database for ${waitMs} ms`);
  }
}

async function withClient<T>(url: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 10_000, application_name: 'triggerfs-migrate' });
  client.on('error', () => undefined);
  try {
    await client.connect();
  } catch (cause) {
    throw new TriggerFsError('TFS_UNAVAILABLE', `cannot connect to the database: ${(cause as Error).message}`, { cause });
  }
  try {
    return await work(client);
  } finally {
    await client.end().catch(() => undefined);
  }
}
