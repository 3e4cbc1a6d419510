import { DatabaseSync } from 'node:sqlite';
import { TriggerFsError } from '../../protocol/errors.ts';

/** Error number of SQLite (see sqlite.org/rescode.html). */
const SQLITE_BUSY = 5;

/**
 * Keeps a second process out of something that has room for one. The lock is an exclusive transaction on a small SQLite file
 * beside it: the kernel takes it away from a process that dies in whatever way, so there is never a stale one to judge.
 */
export class FileLock {
  readonly #database: DatabaseSync;

  private constructor(database: DatabaseSync) {
    this.#database = database;
  }

  /**
   * Takes the lock at a path, waiting at most `waitMs` for its holder to end (the process stands still meanwhile).
   * @param inUse the message when another process holds it
   * @throws TriggerFsError TFS_CONFLICT with that message; Error of SQLite when the file cannot be opened
   */
  static take(path: string, { inUse, waitMs }: { inUse: string; waitMs: number }): FileLock {
    const database = new DatabaseSync(path, { timeout: waitMs });
    try {
      // Nothing is ever written, so there is nothing to keep a journal of; mode `off` would still make a file for it.
      database.exec('pragma journal_mode = memory; begin exclusive');
    } catch (cause) {
      database.close();
      if ((cause as { readonly errcode?: number }).errcode !== SQLITE_BUSY) throw cause;
      throw new TriggerFsError('TFS_CONFLICT', inUse, { cause });
    }
    return new FileLock(database);
  }

  /** Lets the next process in. */
  release(): void {
    this.#database.close();
  }
}
