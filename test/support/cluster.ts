import { mkdtemp, rm, statfs } from 'node:fs/promises';
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

const MEMORY = '/dev/shm';
/** Number of this file system in statfs(2). */
const TMPFS = 0x01021994;
/** What a run of all tests takes at most, with room to spare. */
const ROOM_BYTES = 3 * 1024 ** 3;

/**
 * Starts a cluster without fsync and migrates the template. Its folder is in memory where there is room: a run makes and drops
 * hundreds of databases of a thousand files each, which costs a disk's file system ten times as much.
 */
export async function startCluster(): Promise<TestCluster> {
  const folder = await mkdtemp(join((await isRoomy(MEMORY)) ? MEMORY : tmpdir(), 'triggerfs-test-postgres-'));
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

/** Whether a folder in memory may take a cluster, and leave the machine as much again. */
async function isRoomy(folder: string): Promise<boolean> {
  const { bavail, bsize, type } = await statfs(folder).catch(() => ({ bavail: 0, bsize: 0, type: 0 }));
  return type === TMPFS && bavail * bsize > ROOM_BYTES && process.availableMemory() > 2 * ROOM_BYTES;
}

/** The address of another database of the same cluster. */
export function databaseUrl(url: string, database: string): string {
  const address = new URL(url);
  address.pathname = `/${database}`;
  return address.href;
}
