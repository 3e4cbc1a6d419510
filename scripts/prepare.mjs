/**
 * Builds dist/, puts the lock file into it and links our programs into node_modules/.bin, so that `npx triggerfs-client` works in a checkout.
 * npm runs it after `npm ci`, possibly with an older Node than the pinned one; hence plain JavaScript.
 */
import { spawnSync } from 'node:child_process';
import { chmodSync, copyFileSync, existsSync, lstatSync, mkdirSync, readFileSync, readlinkSync, rmSync, symlinkSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const binaries = join(root, 'node_modules', '.bin');

/** The pinned Node where its install script ran, else the one that runs this script. */
function pinnedNode() {
  const pinned = join(binaries, 'node');
  return existsSync(pinned) ? pinned : process.execPath;
}

/** Tests and benchmarks are type-checked by `npm run types`; nobody needs them to run the programs. */
function projects() {
  const { references } = JSON.parse(readFileSync(join(root, 'tsconfig.json'), 'utf8'));
  return references.map(({ path }) => path).filter((path) => path !== './test');
}

/** Compiles all projects, or explains why not. */
function build() {
  // A dependency may bring some TypeScript along; what the build extends comes with the development dependencies only.
  if (!existsSync(join(root, 'node_modules', '@tsconfig', 'node24'))) {
    process.stdout.write('development dependencies are not installed: dist/ stays as it is\n');
    return;
  }
  const compiler = join(root, 'node_modules', 'typescript', 'bin', 'tsc');
  const { status } = spawnSync(pinnedNode(), [compiler, '-b', ...projects()], { cwd: root, stdio: 'inherit' });
  if (status !== 0) process.exit(status ?? 1);
}

/** npm links the programs of dependencies only; without links of our own, npx would install this package into its cache first. */
function link() {
  const { bin } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  mkdirSync(binaries, { recursive: true });
  for (const [name, file] of Object.entries(bin)) {
    const program = join(root, file);
    if (!existsSync(program)) continue;
    chmodSync(program, 0o755);
    // Links that are right stay: `npm pack` runs this too, beside programs that are in use.
    const path = join(binaries, name);
    const target = relative(binaries, program);
    if (lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink() && readlinkSync(path) === target) continue;
    rmSync(path, { force: true });
    symlinkSync(target, path);
  }
}

/** npm packs no package-lock.json, and install.sh needs it: an installation has what was tested, also deep down. */
function lock() {
  const file = join(root, 'package-lock.json');
  if (!existsSync(file)) return;
  mkdirSync(join(root, 'dist'), { recursive: true });
  copyFileSync(file, join(root, 'dist', 'lock.json'));
}

build();
lock();
link();
