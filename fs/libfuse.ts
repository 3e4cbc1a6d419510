import { execFileSync } from 'node:child_process';
import { accessSync, constants, existsSync, lstatSync, mkdirSync, readlinkSync, renameSync, rmSync, symlinkSync } from 'node:fs';
import { createRequire } from 'node:module';
import { delimiter, dirname, join } from 'node:path';
import { environment } from '../runtime/environment.ts';

const LIBRARY = process.platform === 'darwin' ? 'libosxfuse.2.dylib' : 'libfuse.so.2';

/**
 * Variables to start the fs process with, so that it finds libfuse 2: none when the system has the library, otherwise
 * a search path with a folder below `stateDir` that holds the copy coming with fuse-native under the wanted name.
 * Where only `fusermount3` is installed, it serves under the old name too (both speak the same protocol).
 */
export function libfuseEnvironment(stateDir: string): Record<string, string> {
  if (process.platform !== 'linux') return {};
  const { libraryPath, path } = environment();
  const folder = join(stateDir, 'libfuse');
  const variables: Record<string, string> = {};
  const own = ownLibrary();
  if (own !== null && !systemHasLibrary(libraryPath)) {
    link(own, folder, LIBRARY);
    variables.LD_LIBRARY_PATH = prepend(folder, libraryPath);
  }
  const helper = findProgram('fusermount', path) === null ? findProgram('fusermount3', path) : null;
  if (helper !== null) {
    link(helper, folder, 'fusermount');
    variables.PATH = prepend(folder, path);
  }
  return variables;
}

/** Absolute path of a program on the search path; null when it is not there. */
export function findProgram(name: string, path: string): string | null {
  for (const folder of path.split(delimiter)) {
    const candidate = join(folder, name);
    try {
      accessSync(candidate, constants.X_OK);
      return candidate;
    } catch {
      // Not in this folder.
    }
  }
  return null;
}

function ownLibrary(): string | null {
  try {
    const home = dirname(createRequire(import.meta.url).resolve('fuse-native/package.json'));
    const file = join(home, 'prebuilds', `linux-${process.arch}`, 'libfuse.so');
    return existsSync(file) ? file : null;
  } catch {
    return null;
  }
}

function systemHasLibrary(libraryPath: string | undefined): boolean {
  const folders = [
    ...(libraryPath?.split(delimiter) ?? []),
    '/lib',
    '/usr/lib',
    '/lib64',
    '/usr/lib64',
    '/usr/local/lib',
    ...multiarchFolders(),
  ];
  return folders.some((folder) => folder !== '' && existsSync(join(folder, LIBRARY))) || linkerKnowsLibrary();
}

function multiarchFolders(): string[] {
  const triplet = { x64: 'x86_64-linux-gnu', arm64: 'aarch64-linux-gnu', arm: 'arm-linux-gnueabihf' }[process.arch as string];
  return triplet === undefined ? [] : [`/lib/${triplet}`, `/usr/lib/${triplet}`];
}

/** Libraries in unusual places are in the linker's cache; systems without ldconfig have none. */
function linkerKnowsLibrary(): boolean {
  for (const ldconfig of ['/sbin/ldconfig', '/usr/sbin/ldconfig']) {
    if (!existsSync(ldconfig)) continue;
    try {
      return execFileSync(ldconfig, ['-p'], { encoding: 'utf8', timeout: 5_000, stdio: ['ignore', 'pipe', 'ignore'] }).includes(
        `${LIBRARY} `,
      );
    } catch {
      return false;
    }
  }
  return false;
}

/** Makes `folder/name` lead to `target`; safe when several processes do so at once. */
function link(target: string, folder: string, name: string): void {
  mkdirSync(folder, { recursive: true, mode: 0o755 });
  const path = join(folder, name);
  if (lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() && readlinkSync(path) === target) return;
  const fresh = join(folder, `.${name}.${process.pid}`);
  rmSync(fresh, { force: true });
  symlinkSync(target, fresh);
  renameSync(fresh, path);
}

function prepend(folder: string, list: string | undefined): string {
  return list === undefined || list === '' ? folder : `${folder}${delimiter}${list}`;
}
