import type { Pool, PoolClient, QueryResultRow } from 'pg';

/** Statements of one transaction. */
export interface Transaction {
  /** Runs a statement and returns its rows. */
  rows<T extends QueryResultRow>(sql: string, values?: readonly unknown[]): Promise<T[]>;
  /** Runs a statement and returns the number of rows it touched. */
  run(sql: string, values?: readonly unknown[]): Promise<number>;
}

/** The database as requests use it: every statement belongs to a transaction that acts for one team, or for none. */
export class Database {
  readonly #pool: Pool;

  constructor(pool: Pool) {
    this.#pool = pool;
  }

  /** Runs work in a transaction for a team: row level security shows and takes only that team's rows. */
  inTeam<T>(teamId: number, work: (tx: Transaction) => Promise<T>): Promise<T> {
    if (!Number.isSafeInteger(teamId) || teamId <= 0) throw new Error(`not the id of a team: ${teamId}`);
    return this.#transaction(`begin; select set_config('app.team', '${teamId}', true)`, work);
  }

  /** Runs work in a transaction for a user, and for a team when they are in one: their own rows are seen beside the team's. */
  asUser<T>(who: { readonly id: number; readonly teamId: number }, work: (tx: Transaction) => Promise<T>): Promise<T> {
    if (!Number.isSafeInteger(who.id) || who.id <= 0) throw new Error(`not the id of a user: ${who.id}`);
    const team = Number.isSafeInteger(who.teamId) && who.teamId > 0 ? String(who.teamId) : '';
    return this.#transaction(`begin; select set_config('app.user', '${who.id}', true), set_config('app.team', '${team}', true)`, work);
  }

  /** Runs one statement by itself, without a team: a single round trip, for what every request asks. */
  async rows<T extends QueryResultRow>(sql: string, values: readonly unknown[] = []): Promise<T[]> {
    return (await this.#pool.query<T>(sql, [...values])).rows;
  }

  /** Runs work in a transaction without a team: only tables of the fleet, and definer functions. */
  fleet<T>(work: (tx: Transaction) => Promise<T>): Promise<T> {
    return this.#transaction('begin', work);
  }

  async #transaction<T>(begin: string, work: (tx: Transaction) => Promise<T>): Promise<T> {
    const client = await this.#pool.connect();
    let broken: Error | undefined;
    try {
      await client.query(begin);
      const result = await work(statementsOf(client));
      await client.query('commit');
      return result;
    } catch (error) {
      await client.query('rollback').catch((cause: Error) => {
        broken = cause;
      });
      throw error;
    } finally {
      client.release(broken);
    }
  }
}

function statementsOf(client: PoolClient): Transaction {
  return {
    rows: async <T extends QueryResultRow>(sql: string, values: readonly unknown[] = []): Promise<T[]> =>
      (await client.query<T>(sql, [...values])).rows,
    run: async (sql, values = []) => (await client.query(sql, [...values])).rowCount ?? 0,
  };
}
