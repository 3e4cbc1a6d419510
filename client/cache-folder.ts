import { join } from 'node:path';
import type { Environment } from '../runtime/environment.ts';

/** Folder for what may be lost: `$XDG_CACHE_HOME/triggerfs` or `~/.cache/triggerfs`; null when there is no home. */
export function cacheFolder(env: Pick<Environment, 'cacheHome' | 'home'>): string | null {
  if (env.cacheHome?.startsWith('/') === true) return join(env.cacheHome, 'triggerfs');
  return env.home === undefined || env.home === '' ? null : join(env.home, '.cache', 'triggerfs');
}
