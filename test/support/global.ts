import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startCluster, type TestCluster } from './cluster.ts';

let cluster: TestCluster | null = null;
let keys: string | null = null;
let code: string | null = null;

/**
 * Runs once before all test files: one PostgreSQL and one master key for the whole run, and one folder for compiled code,
 * without which each of a thousand processes strips and compiles the same sources. Test files inherit the variables.
 */
export async function globalSetup(): Promise<void> {
  cluster = await startCluster();
  process.env.TRIGGERFS_TEST_POSTGRES = cluster.url;
  keys = mkdtempSync(join(tmpdir(), 'triggerfs-test-keys-'));
  process.env.TRIGGERFS_TEST_KEYS = keys;
  code = mkdtempSync(join(tmpdir(), 'triggerfs-test-code-'));
  process.env.NODE_COMPILE_CACHE = code;
}

/** Runs once after all test files. */
export async function globalTeardown(): Promise<void> {
  await cluster?.stop();
  cluster = null;
  for (const folder of [keys, code]) if (folder !== null) rmSync(folder, { recursive: true, force: true });
  keys = null;
  code = null;
}
