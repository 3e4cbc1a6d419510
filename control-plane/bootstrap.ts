import pg from 'pg';
import { TriggerFsError } from '../protocol/errors.ts';
import { hashToken } from '../runtime/tokens.ts';

/** Options of `ensureDemo`. */
export interface DemoOptions {
  /** PostgreSQL as the owner of the database, migrated. */
  readonly databaseUrl: string;
  /** Password of the user `demo`; only used when the user is made. */
  readonly secret: string;
  /** Token of the worker `demo01`, a uuid v4; the worker keeps working with the last one given. */
  readonly workerToken: string;
  /** File that `/demo/log` appends to; absolute. */
  readonly logFile: string;
  /** bcrypt cost, default 12. */
  readonly passwordCost?: number;
}

const LOCK = 7_420_318_653;

/**
 * Makes the demo content where it is missing: team, user, worker, service and two trigger files. What people changed
 * since stays as it is, but a deleted piece comes back with the next start.
 * @throws TriggerFsError TFS_UNAVAILABLE without the database
 */
export async function ensureDemo(options: DemoOptions): Promise<void> {
  const client = new pg.Client({ connectionString: options.databaseUrl, connectionTimeoutMillis: 10_000 });
  try {
    await client.connect();
  } catch (cause) {
    throw new TriggerFsError('TFS_UNAVAILABLE', `cannot connect to the database: ${(cause as Error).message}`, { cause });
  }
  try {
    await client.query('begin');
    await client.query('select pg_advisory_xact_lock($1)', [LOCK]);
    await new Demo(client, options).ensure();
    await client.query('commit');
  } finally {
    await client.end();
  }
}

class Demo {
  readonly #client: pg.Client;
  readonly #options: DemoOptions;

  constructor(client: pg.Client, options: DemoOptions) {
    this.#client = client;
    this.#options = options;
  }

  async ensure(): Promise<void> {
    const { secret, passwordCost = 12, workerToken, logFile } = this.#options;
    const team = await this.#id(
      `select id from triggerfs.teams where name = 'demo'`,
      [],
      `insert into triggerfs.teams (name) values ('demo') returning id`,
      [],
    );
    const user = await this.#id(
      `select id from triggerfs.users where identity = 'demo'`,
      [],
      `insert into triggerfs.users (identity, secret_hash) values ('demo', crypt($1, gen_salt('bf', $2))) returning id`,
      [secret, passwordCost],
    );
    // Somebody must be able to announce maintenance; operators that were named since stay the only ones.
    await this.#client.query(
      'update triggerfs.users set operator = true where id = $1 and not exists (select from triggerfs.users where operator)',
      [user],
    );
    await this.#client.query(`insert into triggerfs.memberships (team_id, user_id, role) values ($1, $2, 'owner') on conflict do nothing`, [
      team,
      user,
    ]);
    const worker = await this.#worker(team, user, hashToken(workerToken));
    const service = await this.#id(
      `select id from triggerfs.services where team_id = $1 and name = 'demo'`,
      [team],
      `insert into triggerfs.services (team_id, owner_id, name) values ($1, $2, 'demo') returning id`,
      [team, user],
    );
    await this.#client.query(
      'insert into triggerfs.service_members (team_id, service_id, worker_id) values ($1, $2, $3) on conflict do nothing',
      [team, service, worker],
    );
    const directory = await this.#id(
      `select id from triggerfs.directories where team_id = $1 and path = '/demo'`,
      [team],
      `insert into triggerfs.directories (team_id, owner_id, path) values ($1, $2, '/demo') returning id`,
      [team, user],
    );
    // `write`: nginx hands over whole lines with each write, and appending keeps the bytes of one write together.
    await this.#trigger([team, user, directory, service, 'command', 'command/command', {}, null]);
    // A log is kept where it is appended to; the history would only be a second copy.
    await this.#trigger([team, user, directory, service, 'log', 'file/append', { path: logFile }, 'off']);
  }

  async #worker(team: number, user: number, hash: Buffer): Promise<number> {
    const worker = await this.#id(
      `select id from triggerfs.workers where team_id = $1 and identity = 'demo01'`,
      [team],
      `insert into triggerfs.workers (team_id, owner_id, identity, token_hash) values ($1, $2, 'demo01', $3) returning id`,
      [team, user, hash],
    );
    await this.#client.query(
      'update triggerfs.workers set token_hash = $3, token_epoch = token_epoch + 1 where team_id = $1 and id = $2 and token_hash <> $3',
      [team, worker, hash],
    );
    return worker;
  }

  async #trigger(
    values: [
      team: number,
      user: number,
      directory: number,
      service: number,
      name: string,
      plugin: string,
      args: object,
      history: string | null,
    ],
  ): Promise<void> {
    await this.#client.query(
      `insert into triggerfs.triggers (team_id, owner_id, directory_id, service_id, name, plugin, args, history) values ($1, $2, $3, $4, $5, $6, $7, $8)
       on conflict (team_id, directory_id, name) do nothing`,
      values,
    );
  }

  /** Id of the row that the first statement finds, or the second one makes. */
  async #id(select: string, key: readonly unknown[], insert: string, values: readonly unknown[]): Promise<number> {
    const found = await this.#client.query<{ id: number }>(select, [...key]);
    const row = found.rows[0] ?? (await this.#client.query<{ id: number }>(insert, [...values])).rows[0];
    return (row as { id: number }).id;
  }
}
