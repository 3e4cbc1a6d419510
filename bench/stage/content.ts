import { randomUUID } from 'node:crypto';
import pg from 'pg';
import { hashToken } from '../../runtime/tokens.ts';

/** A bcrypt cost for a password that nobody needs to guess. */
const PASSWORD_COST = 4;

/** A team's user as the benchmarks log in. */
export interface Account {
  readonly team: string;
  readonly identity: string;
  readonly secret: string;
}

/** A worker's login. */
export interface WorkerLogin {
  readonly identity: string;
  readonly token: string;
}

/** What a trigger file does. */
export interface TriggerRule {
  readonly directory: string;
  readonly name: string;
  readonly plugin: string;
  readonly args: Readonly<Record<string, string>>;
}

/** The rows that a benchmark needs, written straight into the database. */
export class Content {
  readonly account: Account;
  readonly #client: pg.Client;
  #team = 0;
  #user = 0;

  private constructor(client: pg.Client, account: Account) {
    this.#client = client;
    this.account = account;
  }

  /** Makes a team with one user. */
  static async create(databaseUrl: string, team: string): Promise<Content> {
    const client = new pg.Client({ connectionString: databaseUrl });
    await client.connect();
    const content = new Content(client, { team, identity: team, secret: randomUUID() });
    await content.#createAccount();
    return content;
  }

  /** Closes the connection to the database. */
  async close(): Promise<void> {
    await this.#client.end();
  }

  /** Makes workers and a service that all of them are attached to. Its history is off unless that is what is measured. */
  async service(name: string, workers: readonly string[], history: 'off' | 'output' = 'off'): Promise<WorkerLogin[]> {
    const service = await this.#id(
      'insert into triggerfs.services (team_id, owner_id, name, history) values ($1, $2, $3, $4) returning id',
      [this.#team, this.#user, name, history],
    );
    const logins = workers.map((identity) => ({ identity, token: randomUUID() }));
    await this.#client.query(
      `with made as (
         insert into triggerfs.workers (team_id, owner_id, identity, token_hash)
         select $1, $2, n.identity, n.hash from unnest($3::text[], $4::bytea[]) as n (identity, hash) returning id
       )
       insert into triggerfs.service_members (team_id, service_id, worker_id) select $1, $5, id from made order by id`,
      [this.#team, this.#user, workers, logins.map(({ token }) => hashToken(token)), service],
    );
    return logins;
  }

  /** Makes one more service for workers that there are, with its history off and a minute for each run. */
  async alsoServe(name: string, workers: readonly string[], failover: 'unstarted' | 'always'): Promise<void> {
    await this.#client.query(
      `with made as (
         insert into triggerfs.services (team_id, owner_id, name, history, failover, timeout_ms) values ($1, $2, $3, 'off', $4, 60000) returning id
       )
       insert into triggerfs.service_members (team_id, service_id, worker_id)
         select $1, made.id, w.id from made, triggerfs.workers w where w.team_id = $1 and w.identity = any($5)`,
      [this.#team, this.#user, name, failover, workers],
    );
  }

  /** Makes a trigger file in a directory of the root. */
  async trigger(service: string, { directory, name, plugin, args }: TriggerRule): Promise<void> {
    await this.#client.query(
      `insert into triggerfs.directories (team_id, owner_id, path, mode) values ($1, $2, $3, 511) on conflict (team_id, path) do nothing`,
      [this.#team, this.#user, directory],
    );
    await this.#client.query(
      `insert into triggerfs.triggers (team_id, owner_id, directory_id, service_id, name, plugin, args, mode)
       select d.team_id, $2, d.id, s.id, $5, $6, $7, 438 from triggerfs.directories d
       join triggerfs.services s on s.team_id = d.team_id and s.name = $4 where d.team_id = $1 and d.path = $3`,
      [this.#team, this.#user, directory, service, name, plugin, args],
    );
  }

  async #createAccount(): Promise<void> {
    const { team, identity, secret } = this.account;
    this.#team = await this.#id('insert into triggerfs.teams (name) values ($1) returning id', [team]);
    this.#user = await this.#id(
      `insert into triggerfs.users (identity, secret_hash) values ($1, crypt($2, gen_salt('bf', $3))) returning id`,
      [identity, secret, PASSWORD_COST],
    );
    await this.#client.query(`insert into triggerfs.memberships (team_id, user_id, role) values ($1, $2, 'owner')`, [
      this.#team,
      this.#user,
    ]);
  }

  async #id(statement: string, values: readonly unknown[]): Promise<number> {
    const { rows } = await this.#client.query<{ id: number }>(statement, [...values]);
    return (rows[0] as { id: number }).id;
  }
}
