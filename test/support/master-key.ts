import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after } from 'node:test';

let own: string | null = null;

after(() => {
  if (own !== null) rmSync(own, { recursive: true, force: true });
});

/** Path of the master key that all processes of a test use: that of the run, or one of this file's own when it is run alone. */
export function masterKeyFile(): string {
  const shared = process.env.TRIGGERFS_TEST_KEYS;
  if (shared !== undefined) return join(shared, 'master.key');
  own ??= mkdtempSync(join(tmpdir(), 'triggerfs-test-keys-'));
  return join(own, 'master.key');
}

/** The section of triggerfs.toml that names it. */
export function masterKeySection(): string {
  return `[main]\nmasterkey = "${masterKeyFile()}"\n`;
}
