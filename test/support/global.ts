import { startCluster, type TestCluster } from './cluster.ts';

let cluster: TestCluster | null = null;

/** Runs once before all test files: one PostgreSQL for the whole run. Test files inherit the variable. */
export async function globalSetup(): Promise<void> {
  cluster = await startCluster();
  process.env.TRIGGERFS_TEST_POSTGRES = cluster.url;
}

/** Runs once after all test files. */
export async function globalTeardown(): Promise<void> {
  await cluster?.stop();
  cluster = null;
}
