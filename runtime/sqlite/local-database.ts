import { DatabaseSync, type StatementSync } from 'node:sqlite';

/** A SQLite file with its prepared statements, for what one process keeps on its own disk. */
export class LocalDatabase {
  readonly #database: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();

  /** @throws Error of SQLite when the file cannot be opened */
  constructor(path: string) {
    this.#database = new DatabaseSync(path);
  }

  /** Runs statements that have no parameters and whose rows nobody reads. */
  run(sql: string): void {
    this.#database.exec(sql);
  }

  /** The statement, prepared once. */
  prepare(sql: string): StatementSync {
    let statement = this.#statements.get(sql);
    if (statement === undefined) {
      statement = this.#database.prepare(sql);
      this.#statements.set(sql, statement);
    }
    return statement;
  }

  /** Runs `work` in one transaction; `durable` waits until it is on the disk. Nothing of it stays when it throws. */
  transaction(durable: boolean, work: () => void): void {
    this.#database.exec(durable ? 'pragma synchronous = full' : 'pragma synchronous = normal');
    this.#database.exec('begin immediate');
    try {
      work();
      this.#database.exec('commit');
    } catch (error) {
      if (this.#database.isTransaction) this.#database.exec('rollback');
      throw error;
    }
  }

  close(): void {
    this.#statements.clear();
    this.#database.close();
  }
}
