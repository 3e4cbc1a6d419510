import { chmod, chown, mkdir } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import pg from 'pg';
import { assertReachable, postgresAccount } from './account.ts';
import { findBinaries } from './binaries.ts';
import { Cluster, type ClusterOptions, SUPERUSER } from './cluster.ts';
import { releaseOwnership, takeOwnership } from './ownership.ts';

/** Options of `EmbeddedPostgres.start`. */
export interface EmbeddedPostgresOptions extends ClusterOptions {
  /** Folder of the database, its password and its log; made when missing, kept between starts. */
  readonly dataDir: string;
}

const DATABASE = 'triggerfs';

/**
 * The PostgreSQL of the npm package, run by `pg_ctl` in a session of its own: Ctrl-C in the terminal of the app does not
 * reach it, `stop()` does. A postmaster that outlived a killed parent is adopted when its port fits, else restarted.
 *
 * Files in `dataDir`: `data/` (the cluster), `password` (0600), `postgres.log`, `owner` (the process that uses it).
 */
export class EmbeddedPostgres {
  /** Address of the database `triggerfs` as superuser, with the password. Never log it. */
  readonly url: string;
  readonly #control: Cluster;
  readonly #owner: string;

  private constructor(url: string, control: Cluster, owner: string) {
    this.url = url;
    this.#control = control;
    this.#owner = owner;
  }

  /**
   * Starts the database, creating it on the first start.
   * @throws TriggerFsError TFS_CONFIG (not installed, unreachable folder, does not start), TFS_CONFLICT (folder in use)
   */
  static async start(options: EmbeddedPostgresOptions): Promise<EmbeddedPostgres> {
    const folder = resolve(options.dataDir);
    const binaries = await findBinaries();
    const account = await postgresAccount();
    await mkdir(folder, { recursive: true });
    if (account !== null) {
      await assertReachable(binaries.initdb, account, 'the PostgreSQL program');
      await assertReachable(folder, account, 'the database folder');
      await chown(folder, account.uid, account.gid);
    }
    await chmod(folder, 0o700);
    const owner = join(folder, 'owner');
    await takeOwnership(owner);
    const control = new Cluster(folder, binaries, account, options);
    try {
      const password = await control.password();
      await control.initialize();
      const port = await control.start();
      const url = (database: string): string => `postgresql://${SUPERUSER}:${password}@127.0.0.1:${port}/${database}`;
      await createDatabase(url('postgres'));
      return new EmbeddedPostgres(url(DATABASE), control, owner);
    } catch (error) {
      await control.stop().catch(() => undefined);
      await releaseOwnership(owner);
      throw error;
    }
  }

  /**
   * Starts a database that was killed again, on the same port; true when it had to. One that somebody has shut down
   * stays down: that was on purpose.
   * @throws TriggerFsError TFS_CONFIG when it does not start
   */
  async revive(): Promise<boolean> {
    if (!(await this.#control.crashed())) return false;
    await this.#control.start(Number(new URL(this.url).port));
    return true;
  }

  /** Stops the database: open transactions are rolled back, sessions are closed. Stopping twice does nothing. */
  async stop(): Promise<void> {
    await this.#control.stop();
    await releaseOwnership(this.#owner);
  }
}

async function createDatabase(url: string): Promise<void> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 10_000 });
  await client.connect();
  try {
    const { rowCount } = await client.query('select from pg_database where datname = $1', [DATABASE]);
    if (rowCount === 0) await client.query(`create database ${DATABASE}`);
  } finally {
    await client.end();
  }
}
