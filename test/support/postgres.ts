import { randomBytes } from 'node:crypto';
import { after, type TestContext } from 'node:test';
import pg from 'pg';
import { databaseUrl, startCluster, TEMPLATE, type TestCluster } from './cluster.ts';

/** Of bcrypt. */
const LOWEST_COST = 4;

let own: Promise<TestCluster> | null = null;
const leftOver = new Map<string, string>();

// Sessions of a test's servers may outlive its own hooks, so the last word is spoken when the whole file is done.
after(async () => {
  for (const [name, url] of leftOver) await drop(url, name, true);
  await (await own)?.stop();
});

/** Address of the cluster: that of the run, or one of this file's own when it is run alone. */
async function clusterUrl(): Promise<string> {
  const shared = process.env.TRIGGERFS_TEST_POSTGRES;
  if (shared !== undefined) return shared;
  own ??= startCluster();
  return (await own).url;
}

/**
 * Makes a fresh migrated database for a test and returns its superuser address. It is dropped after the test.
 * `cheapPasswords` is for whole systems, whose control-plane takes no other cost: a quarter of a second of CPU for each login.
 */
export async function createDatabase(t: Pick<TestContext, 'after'>, options: { cheapPasswords?: boolean } = {}): Promise<string> {
  const url = await create(t, `template ${TEMPLATE}`);
  if (options.cheapPasswords === true) {
    await administer(url, async (client) => {
      await client.query('alter function public.gen_salt(text, integer) rename to gen_salt_of_cost');
      await client.query(
        `create function public.gen_salt(method text, cost integer) returns text language sql as 'select public.gen_salt_of_cost(method, ${LOWEST_COST})'`,
      );
    });
  }
  return url;
}

/** Makes an empty database without our schema, for tests of migrations. */
export async function createEmptyDatabase(t: Pick<TestContext, 'after'>): Promise<string> {
  return create(t, 'template template0');
}

async function create(t: Pick<TestContext, 'after'>, how: string): Promise<string> {
  const url = await clusterUrl();
  const name = `test_${randomBytes(8).toString('hex')}`;
  await administer(url, (client) => client.query(`create database ${name} ${how} strategy file_copy`));
  leftOver.set(name, url);
  t.after(() => drop(url, name, false));
  return databaseUrl(url, name);
}

/** Drops a database. Without `force` it is left for the end while sessions use it: PostgreSQL would wait 5 s for them. */
async function drop(url: string, name: string, force: boolean): Promise<void> {
  await administer(url, async (client) => {
    const { rows } = await client.query<{ used: boolean }>('select exists (select from pg_stat_activity where datname = $1) as used', [
      name,
    ]);
    if (rows[0]?.used === true && !force) return;
    await client.query(`drop database if exists ${name} with (force)`);
    leftOver.delete(name);
  });
}

async function administer(url: string, work: (client: pg.Client) => Promise<unknown>): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    await work(client);
  } finally {
    await client.end();
  }
}
