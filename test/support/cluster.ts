import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import pg from 'pg';
import { migrate } from '../../migrations/runner.ts';
import { silentLogger } from '../../runtime/logging.ts';
import { EmbeddedPostgres } from '../../runtime/postgres/embedded.ts';

/** Name of the migrated database that tests clone. */
export const TEMPLATE = 'triggerfs_template';

/** A PostgreSQL for a run of tests, with the migrated template. */
export interface TestCluster {
  readonly url: string;
  stop(): Promise<void>;
}

/** Starts a cluster without fsync in a temporary folder and migrates the template. */
export async function startCluster(): Promise<TestCluster> {
  const folder = await mkdtemp(join(tmpdir(), 'triggerfs-test-postgres-'));
  const postgres = await EmbeddedPostgres.start({ dataDir: folder, port: 0, log: silentLogger(), fsync: false });
  const admin = new pg.Client({ connectionString: postgres.url });
  await admin.connect();
  await admin.query(`create database ${TEMPLATE}`);
  await migrate({ url: databaseUrl(postgres.url, TEMPLATE) });
  await admin.end();
  return {
    url: postgres.url,
    stop: async () => {
      await postgres.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** The address of another database of the same cluster. */
export function databaseUrl(url: string, database: string): string {
  const address = new URL(url);
  address.pathname = `/${database}`;
  return address.href;
}
