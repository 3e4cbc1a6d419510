import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { TriggerFsError } from '../../protocol/errors.ts';
import { FileLock } from '../../runtime/sqlite/file-lock.ts';
import type { InvocationIds } from '../../runtime/wire/invocation-id.ts';
import { type Recovered, recover } from './recovery.ts';
import { SpoolStore } from './store.ts';

/** The files of a spool, in order and in nobody else's hands. */
export interface SpoolFiles {
  readonly lock: FileLock;
  readonly store: SpoolStore;
  readonly recovered: Recovered;
}

/** Error number of SQLite (see sqlite.org/rescode.html). */
const SQLITE_FULL = 13;

/**
 * Opens the files in a folder and brings them in order. It waits `waitMs`, blocking, for another process.
 * @throws TriggerFsError TFS_CONFLICT when that keeps them; TFS_SPOOL_FULL when the disk is full; TFS_CONFIG when they cannot be read
 */
export function openSpoolFiles(folder: string, ids: InvocationIds, waitMs: number): SpoolFiles {
  const opened: { lock?: FileLock; store?: SpoolStore } = {};
  const path = join(folder, 'spool.db');
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const lock = FileLock.take(join(folder, 'spool.lock'), { inUse: `the spool ${folder} is in use by another triggerfs process`, waitMs });
    opened.lock = lock;
    const store = new SpoolStore(path);
    opened.store = store;
    return { lock, store, recovered: recover(store, join(folder, 'spool.journal'), ids) };
  } catch (cause) {
    opened.store?.close();
    opened.lock?.release();
    throw refusal(path, cause);
  }
}

/** Whether an error of the file system or of SQLite says that there is no room. */
export function isDiskFull(error: unknown): boolean {
  const { code, errcode } = error as { readonly code?: string; readonly errcode?: number };
  return errcode === SQLITE_FULL || code === 'ENOSPC' || code === 'EDQUOT';
}

function refusal(path: string, cause: unknown): TriggerFsError {
  if (cause instanceof TriggerFsError) return cause;
  if (isDiskFull(cause)) {
    const text = `cannot open the spool ${path}: its disk is full; what is in the spool is safe, and goes out when there is room`;
    return new TriggerFsError('TFS_SPOOL_FULL', text, { cause });
  }
  const text = `cannot open the spool ${path}: ${(cause as Error).message}; move its folder away to start with an empty one`;
  return new TriggerFsError('TFS_CONFIG', text, { cause });
}
