import { DatabaseSync } from 'node:sqlite';
import { TriggerFsError } from '../../protocol/errors.ts';

/**
 * Keeps a second process out of a spool. The lock is SQLite's own on a file of its own, held by an open transaction:
 * it ends with the process, however that dies, and the spool itself stays readable for everyone.
 */
export class SpoolLock {
  readonly #database: DatabaseSync;

  /** @throws TriggerFsError TFS_CONFLICT when another process holds it */
  constructor(path: string) {
    this.#database = new DatabaseSync(path);
    try {
      this.#database.exec('pragma busy_timeout = 2000; begin exclusive');
    } catch (cause) {
      this.#database.close();
      throw new TriggerFsError('TFS_CONFLICT', `the spool ${path} is in use by another triggerfs process`, { cause });
    }
  }

  /** Lets the next process in. */
  release(): void {
    this.#database.close();
  }
}
