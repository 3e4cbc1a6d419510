import { chmodSync, closeSync, openSync } from 'node:fs';
import { join } from 'node:path';
import type { REPLServer } from 'node:repl';
import type { Environment } from '../../runtime/environment.ts';

const SIZE = 1000;

/** Keeps typed lines over sessions in `~/.triggerfs_history`, readable by its owner only. Lines that begin with a blank are not kept. */
export async function keepHistory(repl: REPLServer, env: Pick<Environment, 'home'>): Promise<void> {
  const file = env.home === undefined ? null : prepared(join(env.home, '.triggerfs_history'));
  if (file === null) return;
  await new Promise<void>((resolve) => {
    repl.setupHistory({ filePath: file, size: SIZE, removeHistoryDuplicates: true }, () => resolve());
  });
}

/** Null where the file cannot be ours: the console then remembers nothing. */
function prepared(file: string): string | null {
  try {
    closeSync(openSync(file, 'a', 0o600));
    chmodSync(file, 0o600);
    return file;
  } catch {
    return null;
  }
}
