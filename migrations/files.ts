import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { TriggerFsError } from '../protocol/errors.ts';

/** One migration: `NNNN_name.sql`. */
export interface MigrationFile {
  readonly version: number;
  readonly name: string;
  readonly sql: string;
  /** Of the file's bytes: a migration is never edited once it was applied. */
  readonly sha256: string;
  /** False with the header `-- triggerfs:no-transaction`. */
  readonly transaction: boolean;
}

const NAME = /^(\d{4})_([a-z0-9_]+)\.sql$/;

/**
 * Reads the migrations of a folder in order.
 * @throws TriggerFsError TFS_MIGRATION for a misnamed file, or numbers that are not 1, 2, 3, ...
 */
export async function readMigrations(folder: string): Promise<readonly MigrationFile[]> {
  const names = (await readdir(folder)).filter((name) => name.endsWith('.sql')).sort();
  return Promise.all(
    names.map(async (name, index) => {
      const match = NAME.exec(name);
      if (match === null) throw new TriggerFsError('TFS_MIGRATION', `${name} is not named like 0001_name.sql`);
      const version = Number(match[1]);
      if (version !== index + 1) throw new TriggerFsError('TFS_MIGRATION', `${name} comes where number ${index + 1} is expected`);
      const sql = await readFile(join(folder, name), 'utf8');
      const sha256 = createHash('sha256').update(sql).digest('hex');
      return { version, name, sql, sha256, transaction: !/^-- triggerfs:no-transaction\s*$/m.test(sql) };
    }),
  );
}
