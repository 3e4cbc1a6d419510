import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Sources } from './check.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const TEXT = /\.(?:ts|mts|mjs|js|sql|md|json|toml|sh)$|^\.ci\//;

/** Every text file of the repository; what git ignores (dist, node_modules) is left out. */
export function sourceFiles(): Sources {
  const listed = execFileSync('git', ['ls-files', '--cached', '--others', '--exclude-standard', '-z'], { cwd: ROOT, encoding: 'utf8' });
  const files = listed.split('\0').filter((file) => TEXT.test(file) && file !== 'package-lock.json' && existsSync(join(ROOT, file)));
  return new Map(files.map((file) => [file, readFileSync(join(ROOT, file), 'utf8')]));
}
