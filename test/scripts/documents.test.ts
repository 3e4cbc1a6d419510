import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { test } from 'node:test';
import { environment } from '../../runtime/environment.ts';
import { VERSION } from '../../runtime/version.ts';
import { LAYERS, PACKAGES } from '../../scripts/layers/rules.ts';
import { PORT_OPTIONS, readOptions } from '../../server/options.ts';
import { startScreen } from '../../server/screen.ts';
import { readTable } from '../support/markdown.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const IGNORED = new Set(['node_modules', 'dist', '.git', '.triggerfs', 'mountpoint']);

interface PackageJson {
  readonly bin: Record<string, string>;
  readonly scripts: Record<string, string>;
  readonly dependencies: Record<string, string>;
}

function read(...path: string[]): string {
  return readFileSync(join(ROOT, ...path), 'utf8');
}

const packageJson = JSON.parse(read('package.json')) as PackageJson;

function documents(folder = ROOT): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    if (IGNORED.has(entry.name)) return [];
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return documents(path);
    return entry.name.endsWith('.md') ? [path] : [];
  });
}

function codeOf(cell: string | undefined): string[] {
  return [...(cell ?? '').matchAll(/`([^`]+)`/g)].map(([, text]) => text ?? '');
}

/** Anchors as GitHub makes them from headings. */
function anchors(text: string): Set<string> {
  const headings = [...text.matchAll(/^#+ (.*)$/gm)].map(([, heading]) => heading ?? '');
  return new Set(
    headings.map((heading) =>
      heading
        .toLowerCase()
        .replaceAll(/[^\p{L}\p{N} _-]/gu, '')
        .replaceAll(' ', '-'),
    ),
  );
}

test('links between documents lead somewhere', () => {
  const broken: string[] = [];
  for (const file of documents()) {
    const text = readFileSync(file, 'utf8').replaceAll(/```[\s\S]*?```/g, '');
    for (const [, target = ''] of text.matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^[a-z]+:/.test(target)) continue;
      const [path = '', anchor] = target.split('#');
      const linked = path === '' ? file : resolve(dirname(file), path);
      const missing =
        !existsSync(linked) || (anchor !== undefined && statSync(linked).isFile() && !anchors(readFileSync(linked, 'utf8')).has(anchor));
      if (missing) broken.push(`${file.slice(ROOT.length + 1)} → ${target}`);
    }
  }
  assert.deepEqual(broken, []);
});

test('docs/README.md lists every page', () => {
  const index = read('docs', 'README.md');
  const listed = [...index.matchAll(/\]\(([a-z-]+\.md)\)/g)].map(([, name]) => name);
  const pages = readdirSync(join(ROOT, 'docs')).filter((name) => name.endsWith('.md') && name !== 'README.md');
  assert.deepEqual([...listed].sort(), pages.sort());
});

test('README.md lists every program, and CONTRIBUTING.md only scripts that exist', () => {
  const programs = readTable(read('README.md'), ['program', 'what it does']).map(([name]) => codeOf(name)[0]);
  assert.deepEqual([...programs].sort(), Object.keys(packageJson.bin).sort());
  for (const [command] of readTable(read('CONTRIBUTING.md'), ['command', 'what it does'])) {
    const [, script = ''] = /^`npm (?:run )?(\S+)`$/.exec(command ?? '') ?? [];
    assert.ok(script in packageJson.scripts, `${command} is no script`);
  }
});

test('CI runs the test command of README.md last', () => {
  const lines = read('.ci', 'run').trim().split('\n');
  assert.equal(lines.at(-1), 'npm test');
  assert.match(read('README.md'), /## Tests\n\n```sh\nnpm test\n```/);
  for (const gate of ['npm ci', 'npm run lint', 'npm run types']) assert.ok(lines.includes(gate), gate);
});

test('the start screen in README.md is the one that the server shows', () => {
  const shown = /```text\nStarting triggerFS \.\.\.\n([\s\S]*?)```/.exec(read('README.md'))?.[1];
  const cwd = '/opt/triggerfs';
  const addresses = {
    api: 'http://127.0.0.1:8642',
    gateway: 'http://127.0.0.1:8643',
    broker: 'tcp://127.0.0.1:5555',
    mountpoint: `${cwd}/mountpoint`,
    mountProblem: null,
    config: `${cwd}/.triggerfs/triggerfs.toml`,
    database: 'postgresql://postgres:secret@127.0.0.1:40737/triggerfs',
  };
  const options = { cwd, dataDir: `${cwd}/.triggerfs`, seconds: 3.4, configIsFound: true };
  const screen = startScreen(addresses, { ...options, inCheckout: true });
  assert.equal(shown, `${screen.trimEnd()}\n`);
  assert.ok(screen.includes(VERSION) && !screen.includes('secret'));
  const installed = startScreen(addresses, { ...options, inCheckout: false });
  assert.equal(installed, screen.replace('npx triggerfs-client', 'triggerfs-client'));
});

test('docs/operations.md lists the options of triggerfs-server', () => {
  const documented = readTable(read('docs', 'operations.md'), ['option', 'meaning']).flatMap(([option]) =>
    codeOf(option).map((text) => text.split(' ')[0]),
  );
  const help = readOptions(['-help'], environment()) as string;
  const inCode = [...help.matchAll(/^ {2}-([a-z-]+)/gm)]
    .map(([, name]) => `--${name}`)
    .filter((name) => !['--version', '--help'].includes(name));
  assert.deepEqual([...documented].sort(), inCode.sort());
  for (const option of Object.values(PORT_OPTIONS)) assert.ok(documented.includes(`--${option}`));
});

test('the layers in ARCHITECTURE.md are those that are enforced', () => {
  const documented = readTable(read('ARCHITECTURE.md'), ['folder', 'may import', 'because']).map(([folder, imports, reason]) => [
    codeOf(folder)[0],
    codeOf(imports),
    reason,
  ]);
  assert.deepEqual(
    documented,
    Object.entries(LAYERS).map(([folder, { imports, reason }]) => [folder, [...imports], reason]),
  );
  for (const folder of Object.keys(LAYERS)) assert.ok(existsSync(join(ROOT, folder)), folder);
});

test('the dependencies in ARCHITECTURE.md are those of the package, used where the rules allow it', () => {
  const documented = Object.fromEntries(
    readTable(read('ARCHITECTURE.md'), ['package', 'used in', 'because']).map(([name, folders]) => [codeOf(name)[0], codeOf(folders)]),
  );
  assert.deepEqual(documented, Object.fromEntries(Object.entries(PACKAGES).map(([name, folders]) => [name, [...folders]])));
  assert.deepEqual(Object.keys(documented).sort(), Object.keys(packageJson.dependencies).sort());
});
