import { accessSync, constants, readFileSync, realpathSync, type Stats, statSync } from 'node:fs';
import { extname, join, relative, sep } from 'node:path';
import { defaultManifest, type Manifest, ManifestError, type PluginKind, parseManifest } from '../../plugins/sdk/manifest.ts';
import { TriggerFsError } from '../../protocol/errors.ts';
import { isPluginName } from '../../protocol/names.ts';
import type { Plugin } from './plugin.ts';

const MANIFEST = 'plugin.json';
const MAX_MANIFEST_BYTES = 256 * 1024;
const NODE_EXTENSIONS = new Set(['.ts', '.mts', '.js', '.mjs', '.cjs']);

/** Where plugins are found. */
export interface PluginRoot {
  /** Real path of the folder. */
  readonly path: string;
  /** Where the programs of the plugins that come with triggerFS stand when it runs from dist/; null otherwise. */
  readonly compiled: string | null;
  /** Arguments of Node.js for programs that are scripts of it. */
  readonly nodeArguments: (kind: PluginKind) => readonly string[];
}

/**
 * Finds a plugin by its name: the folder `NAME` or `NAME/NAME` with a plugin.json, or an executable file of that name.
 * Returns null when there is none. Everything must stand inside the root, also after symbolic links.
 * @throws TriggerFsError TFS_PLUGIN_FAILED when it is there but cannot be used
 */
export function loadPlugin(root: PluginRoot, name: string): Plugin | null {
  if (!isPluginName(name)) return null;
  try {
    return fromFolder(root, name, name) ?? fromParent(root, name) ?? fromExecutable(root, name);
  } catch (cause) {
    if (cause instanceof TriggerFsError) throw cause;
    throw new TriggerFsError('TFS_PLUGIN_FAILED', `plugin ${name}: ${(cause as Error).message}`, { cause });
  }
}

/** The name that the plugin.json of a folder gives itself; null without one. @throws ManifestError */
export function nameInFolder(root: PluginRoot, folder: string): string | null {
  const file = join(root.path, folder, MANIFEST);
  return fileStats(file) === null ? null : parseManifest(readManifest(root, file)).name;
}

/** Whether a path is a file that may be executed. */
export function isExecutable(path: string): boolean {
  if (fileStats(path) === null) return false;
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function fromFolder(root: PluginRoot, name: string, folder: string): Plugin | null {
  const file = join(root.path, folder, MANIFEST);
  if (fileStats(file) === null) return null;
  const manifest = parseManifest(readManifest(root, file));
  if (manifest.name === name) return assemble(root, manifest, folder, file);
  if (name === folder && !manifest.name.startsWith(`${folder}/`)) {
    throw new ManifestError(`its plugin.json calls itself ${manifest.name}`);
  }
  return null;
}

/** `NAME/NAME` may be described by the plugin.json of the folder `NAME`. */
function fromParent(root: PluginRoot, name: string): Plugin | null {
  const [folder, file] = name.split('/');
  return file === undefined ? null : fromFolder(root, name, folder as string);
}

function fromExecutable(root: PluginRoot, name: string): Plugin | null {
  const path = join(root.path, name);
  if (!isExecutable(path)) return null;
  const program = inside(root, path);
  return { name, manifest: defaultManifest(name, program), program, arguments: [], fingerprint: fingerprint([path]) };
}

function assemble(root: PluginRoot, manifest: Manifest, folder: string, file: string): Plugin {
  const [word, ...rest] = manifest.exec;
  const base = join(root.path, folder);
  const words = rest.map((argument) => (argument.startsWith('./') ? inside(root, join(base, argument)) : argument));
  const path = join(base, word);
  if (word.startsWith('/'))
    throw new ManifestError('exec: a file of the plugin’s folder, or the name of a program, is expected, not an absolute path');
  if (fileStats(path) === null) {
    if (word.includes('/') || NODE_EXTENSIONS.has(extname(word))) throw new ManifestError(`exec: there is no file ${word}`);
    return { name: manifest.name, manifest, program: word, arguments: words, fingerprint: fingerprint([file]) };
  }
  const program = inside(root, path);
  const common = { name: manifest.name, manifest, fingerprint: fingerprint([file, path]) };
  if (!NODE_EXTENSIONS.has(extname(program))) return { ...common, program, arguments: words };
  return { ...common, program: process.execPath, arguments: [...root.nodeArguments(manifest.kind), script(root, program), ...words] };
}

function script(root: PluginRoot, path: string): string {
  if (root.compiled === null) return path;
  return join(root.compiled, relative(root.path, path)).replace(/\.ts$/, '.js');
}

function readManifest(root: PluginRoot, file: string): string {
  const path = inside(root, file);
  if (statSync(path).size > MAX_MANIFEST_BYTES) throw new ManifestError(`plugin.json is larger than ${MAX_MANIFEST_BYTES} bytes`);
  return readFileSync(path, 'utf8');
}

/** The real path of a file. @throws ManifestError when it is not inside the root */
function inside(root: PluginRoot, path: string): string {
  const real = realpathSync(path);
  if (!real.startsWith(root.path.endsWith(sep) ? root.path : root.path + sep))
    throw new ManifestError('it leads out of the plugins’ folder');
  return real;
}

function fileStats(path: string): Stats | null {
  const stats = statSync(path, { throwIfNoEntry: false });
  return stats?.isFile() === true ? stats : null;
}

function fingerprint(paths: readonly string[]): string {
  return paths
    .map((path) => statSync(path))
    .map(({ ino, size, mtimeMs }) => `${ino}.${size}.${mtimeMs}`)
    .join(' ');
}
