import { chmodSync, mkdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Environment } from '../runtime/environment.ts';

const OTHERS = 0o077;

/**
 * Folder for what may be lost: `$XDG_CACHE_HOME/triggerfs` or `~/.cache/triggerfs`, made when missing, for its owner alone.
 * Null when there is no home, or the folder cannot be ours alone.
 */
export function cacheFolder(env: Pick<Environment, 'cacheHome' | 'home'>): string | null {
  const folder = folderOf(env);
  if (folder === null) return null;
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const { uid, mode } = statSync(folder);
    if (uid !== process.getuid?.()) return null;
    if ((mode & OTHERS) !== 0) chmodSync(folder, 0o700);
    return folder;
  } catch {
    return null;
  }
}

function folderOf({ cacheHome, home }: Pick<Environment, 'cacheHome' | 'home'>): string | null {
  if (cacheHome?.startsWith('/') === true) return join(cacheHome, 'triggerfs');
  return home === undefined || home === '' ? null : join(home, '.cache', 'triggerfs');
}
