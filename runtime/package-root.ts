import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';

/**
 * Folder of the triggerFS package: assets that are no TypeScript (sql, plugin.json, scripts) are found from here,
 * whether the program runs from its sources or from dist/.
 */
export function packageRoot(): string {
  let folder = import.meta.dirname;
  while (!existsSync(join(folder, 'package.json'))) {
    const parent = dirname(folder);
    if (parent === folder) throw new Error(`no package.json above ${import.meta.dirname}`);
    folder = parent;
  }
  return folder;
}
