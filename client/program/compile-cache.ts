import { enableCompileCache as enable } from 'node:module';
import { join } from 'node:path';
import { environment } from '../../runtime/environment.ts';
import { cacheFolder } from '../cache-folder.ts';

/**
 * Keeps compiled code between calls, which halves the start of a short program. It lies in the caller's own cache:
 * in the shared temporary folder others could prepare it.
 */
export function enableCompileCache(): void {
  const folder = cacheFolder(environment());
  if (folder !== null) enable(join(folder, 'code'));
}
