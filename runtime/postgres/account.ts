import { execFile } from 'node:child_process';
import { readFile, stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { promisify } from 'node:util';
import { TriggerFsError } from '../../protocol/errors.ts';

const run = promisify(execFile);

/** The user that PostgreSQL runs as. */
export interface Account {
  readonly uid: number;
  readonly gid: number;
}

const NAME = 'postgres';

/**
 * The user for PostgreSQL: null means the current one. PostgreSQL refuses to run as root, so root uses the user
 * `postgres` and creates it when it is missing.
 * @throws TriggerFsError TFS_CONFIG when it cannot be created
 */
export async function postgresAccount(): Promise<Account | null> {
  if (process.getuid?.() !== 0) return null;
  const existing = await lookUp();
  if (existing !== null) return existing;
  try {
    await run('useradd', ['--system', '--user-group', '--no-create-home', '--home-dir', '/nonexistent', '--shell', '/bin/false', NAME]);
  } catch (cause) {
    const reason = (cause as { stderr?: string }).stderr?.trim() || (cause as Error).message;
    throw new TriggerFsError('TFS_CONFIG', `PostgreSQL does not run as root and the user ${NAME} cannot be created: ${reason}`, { cause });
  }
  const created = await lookUp();
  if (created === null) throw new TriggerFsError('TFS_CONFIG', `useradd created the user ${NAME}, but /etc/passwd does not list it`);
  return created;
}

async function lookUp(): Promise<Account | null> {
  const passwd = await readFile('/etc/passwd', 'utf8').catch(() => '');
  const fields = passwd
    .split('\n')
    .find((line) => line.startsWith(`${NAME}:`))
    ?.split(':');
  return fields === undefined ? null : { uid: Number(fields[2]), gid: Number(fields[3]) };
}

/**
 * Checks that an account can enter every folder above a path.
 * @throws TriggerFsError TFS_CONFIG naming the first folder that is closed to it
 */
export async function assertReachable(path: string, account: Account, what: string): Promise<void> {
  const folders: string[] = [];
  for (let folder = dirname(resolve(path)); ; folder = dirname(folder)) {
    folders.unshift(folder);
    if (folder === dirname(folder)) break;
  }
  for (const folder of folders) {
    const { mode, uid, gid } = await stat(folder);
    const bit = uid === account.uid ? 0o100 : gid === account.gid ? 0o010 : 0o001;
    if ((mode & bit) !== 0) continue;
    throw new TriggerFsError(
      'TFS_CONFIG',
      `${what} (${path}) cannot be reached by the user ${NAME}, which PostgreSQL runs as for root: the folder ${folder} is closed to others; ` +
        `run chmod o+x ${folder}, move triggerFS or its data elsewhere, start it as another user, or set DATABASE_URL`,
    );
  }
}
