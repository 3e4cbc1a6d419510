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

/**
 * Opens the files in a folder and brings them in order. It waits `waitMs`, blocking, for another process.
 * @throws TriggerFsError TFS_CONFLICT when that keeps them; TFS_CONFIG when they cannot be read
 */
export function openSpoolFiles(folder: string, ids: InvocationIds, waitMs: number): SpoolFiles {
  const lock = FileLock.take(join(folder, 'spool.lock'), { inUse: `the spool ${folder} is in use by another triggerfs process`, waitMs });
  const path = join(folder, 'spool.db');
  try {
    const store = new SpoolStore(path);
    return { lock, store, recovered: recover(store, join(folder, 'spool.journal'), ids) };
  } catch (cause) {
    lock.release();
    const reason = (cause as Error).message;
    throw new TriggerFsError('TFS_CONFIG', `cannot open the spool ${path}: ${reason}; move its folder away to start with an empty one`, {
      cause,
    });
  }
}
