import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { TriggerFsError } from '../protocol/errors.ts';

/**
 * Keeps two servers from using one data folder. The lock is an exclusive transaction on a small SQLite file: the kernel
 * takes it away from a process that dies in whatever way, so there is never a stale one to judge.
 */
export class FolderLock {
  readonly #database: DatabaseSync;

  private constructor(database: DatabaseSync) {
    this.#database = database;
  }

  /** @throws TriggerFsError TFS_CONFLICT when another server has the folder */
  static take(folder: string): FolderLock {
    const database = new DatabaseSync(join(folder, 'server.lock'), { timeout: 0 });
    try {
      // Nothing is ever written, so there is nothing to keep a journal of.
      database.exec('pragma journal_mode = off; begin exclusive');
    } catch (cause) {
      database.close();
      throw new TriggerFsError('TFS_CONFLICT', `another triggerfs-server is running on ${folder}`, { cause });
    }
    return new FolderLock(database);
  }

  /** Lets others have the folder. */
  release(): void {
    this.#database.close();
  }
}
