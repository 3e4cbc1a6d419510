import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startCluster, type TestCluster } from './cluster.ts';

let cluster: TestCluster | null = null;
let keys: string | null = null;

/** Runs once before all test files: one PostgreSQL and one master key for the whole run. Test files inherit the variables. */
export async function globalSetup(): Promise<void> {
  cluster = await startCluster();
  process.env.TRIGGERFS_TEST_POSTGRES = cluster.url;
  keys = mkdtempSync(join(tmpdir(), 'triggerfs-test-keys-'));
  process.env.TRIGGERFS_TEST_KEYS = keys;
}

/** Runs once after all test files. */
export async function globalTeardown(): Promise<void> {
  await cluster?.stop();
  cluster = null;
  if (keys !== null) rmSync(keys, { recursive: true, force: true });
  keys = null;
}
