import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { parseConfig } from '../../runtime/config/index.ts';
import { environment } from '../../runtime/environment.ts';
import { packageRoot } from '../../runtime/package-root.ts';
import { readTable } from '../support/markdown.ts';
import { Machine, PARTS, SCRIPT } from './installer.ts';

function machine(t: TestContext): Machine {
  const folder = mkdtempSync(join(tmpdir(), 'triggerfs-installer-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  return new Machine(folder, 'home');
}

function exists(program: string): boolean {
  return spawnSync(program, ['--version']).error === undefined;
}

test('bash reads the script and its parts, and shellcheck finds nothing', (t) => {
  const parts = readdirSync(PARTS).filter((name) => name.endsWith('.sh'));
  const files = [SCRIPT, ...parts.map((name) => join(PARTS, name))];
  for (const file of files) {
    const syntax = spawnSync('bash', ['-n', file], { encoding: 'utf8' });
    assert.equal(syntax.status, 0, syntax.stderr);
  }
  const loaded = [...readFileSync(SCRIPT, 'utf8').matchAll(/^ {2}\. "\$ROOT\/installer\/(\S+)"$/gm)].map(([, name]) => name);
  assert.deepEqual(loaded, parts.toSorted());
  if (!exists('shellcheck')) {
    assert.ok(!environment().ci, 'CI must have shellcheck');
    t.skip('install shellcheck (Debian package of this name)');
    return;
  }
  const { status, stdout } = spawnSync('shellcheck', ['--check-sourced', ...files], { encoding: 'utf8' });
  assert.equal(status, 0, stdout);
});

test('docs/install.md lists the options of install.sh', async (t) => {
  const { code, screen } = await machine(t).run(['--help']);
  assert.equal(code, 0);
  const inHelp = [...screen.matchAll(/^ {2}(--[a-z-]+(?: [A-Z]+)?) {2}/gm)].map(([, option]) => option).filter((name) => name !== '--help');
  const page = readFileSync(join(packageRoot(), 'docs', 'install.md'), 'utf8');
  const documented = readTable(page, ['option', 'meaning']).map(([option]) => option?.replaceAll('`', ''));
  assert.deepEqual(documented, inHelp);
});

test('wrong options are explained and change nothing', async (t) => {
  const here = machine(t);
  const cases: [args: string[], message: RegExp][] = [
    [['--no-such-option', 'x'], /unknown option --no-such-option; see --help/],
    [['--team'], /--team needs a value/],
    [['--services', 'worker,web'], /there is no service web, only control-plane, broker, worker, fs/],
    [['dance'], /there is no step dance/],
    [['--dir', '/opt/with "quotes"'], /--dir: .* has a character that is not allowed here/],
  ];
  for (const [args, message] of cases) {
    const { code, screen } = await here.run(['--yes', ...args]);
    assert.equal(code, 64, screen);
    assert.match(screen, message);
  }
  assert.deepEqual(readdirSync(here.home), ['programs']);
});

test('what is missing is named, and so is the option that gives it', async (t) => {
  const here = machine(t);
  const closed = 'http://127.0.0.1:9';
  const password = here.file('password', 'a good password');
  const cases: [args: string[], message: RegExp][] = [
    [['--api', closed, 'signup'], /Identity is missing; give --identity/],
    [['--api', closed, '--identity', 'hp1', 'signup'], /the password is missing; give --password-file/],
    [
      ['--api', closed, '--identity', 'hp1', '--password-file', password, 'signup'],
      /http:\/\/127\.0\.0\.1:9 does not answer: .*Check the address/,
    ],
    [['--identity', 'hp1', '--password-file', `${password}.txt`, 'team'], /cannot read .*password\.txt/],
    [['--api', 'ftp://x', 'config'], /ftp:\/\/x is no address/],
    [['--dir', join(here.home, 'nothing'), '--services', 'fs', 'services'], /there are no modules in .*install them first/],
    [['--package', password, '--dir', here.home, 'modules'], /password is no packed npm package/],
  ];
  for (const [args, message] of cases) {
    const { code, screen } = await here.run(['--yes', ...args]);
    assert.equal(code, 1, screen);
    assert.match(screen, message);
  }
  assert.equal(existsSync(here.config), false);
});

test('an existing triggerfs.toml is kept and completed', async (t) => {
  const here = machine(t);
  const before = `# mine\n[main] # people\napi = "http://127.0.0.1:1"\nteam = ""\n\n[workers]\nconcurrency = 3 # few\n\n[workers.team1."old"]\ntoken = 'x'\n`;
  here.file('triggerfs.toml', before.trimEnd());
  const options = ['--yes', '--team', 'team1', '--worker', 'new1', '--token-file', here.file('token', 'a-token'), 'config'];
  const first = await here.run(options);
  assert.equal(first.code, 0, first.screen);
  assert.match(first.screen, /added what was missing to .*triggerfs\.toml/);
  const after = readFileSync(here.config, 'utf8');
  assert.equal(
    after,
    before
      .replace('team = ""', 'team = "team1"')
      .concat('\n[triggerfs]\nmountpoint = "./mountpoint"\n\n[workers.team1.new1]\ntoken = "a-token"\n'),
  );
  const second = await here.run([...options.slice(0, -1), '--api', 'http://127.0.0.1:2', 'config']);
  assert.match(second.screen, /Note: .* has another api in \[main\] and keeps it\./);
  assert.match(second.screen, /Nothing was changed: everything is in place\./);
  assert.equal(readFileSync(here.config, 'utf8'), after);
});

test('names with a dot are written in quotes and found in every spelling', async (t) => {
  const here = machine(t);
  const options = ['--yes', '--team', 'acme.io', '--worker', 'web.01', '--token-file', here.file('token', 'a-token'), 'config'];
  assert.equal((await here.run(options)).code, 0);
  const written = readFileSync(here.config, 'utf8');
  const token = (text: string): string | undefined => parseConfig(text, here.config).workerCredentials.get('acme.io')?.get('web.01')?.token;
  assert.equal(token(written), 'a-token');
  assert.match(written, /^\[workers\."acme\.io"\."web\.01"\]$/m);
  const header = '[workers."acme.io"."web.01"]';
  for (const spelling of [header, `[ workers . 'acme.io'."web.01" ] # mine`, '["workers"."acme.io".\'web.01\']']) {
    const before = written.replace(header, spelling);
    here.file('triggerfs.toml', before.trimEnd());
    assert.match((await here.run(options)).screen, /Nothing was changed/);
    assert.equal(readFileSync(here.config, 'utf8'), before);
  }
  here.file('triggerfs.toml', written.replace(header, '[workers.acme.io.web.01]').trimEnd());
  assert.match((await here.run(options)).screen, /added what was missing/);
  assert.equal(readFileSync(here.config, 'utf8'), written);
  const other = ['--yes', '--team', 'acme', '--worker', 'io.web.01', '--token-file', here.file('token', 'other'), 'config'];
  await here.run(other);
  const both = parseConfig(readFileSync(here.config, 'utf8'), here.config).workerCredentials;
  assert.deepEqual([both.get('acme.io')?.get('web.01')?.token, both.get('acme')?.get('io.web.01')?.token], ['a-token', 'other']);
});

test('an install.sh alone goes on with the one in the package', async (t) => {
  const here = machine(t);
  const pack = (name: string, ...files: string[]): string => {
    const folder = join(here.home, name, 'package');
    mkdirSync(folder, { recursive: true });
    for (const file of files) cpSync(join(packageRoot(), file), join(folder, file), { recursive: true });
    const file = join(here.home, `${name}.tgz`);
    assert.equal(spawnSync('tar', ['-czf', file, '-C', join(here.home, name), 'package']).status, 0);
    return file;
  };
  const complete = pack('complete', 'package.json', 'install.sh', 'installer');
  const temporary = join(here.home, 'tmp');
  mkdirSync(temporary);
  const env = { TMPDIR: temporary };
  const cases: [args: string[], code: number, message: RegExp][] = [
    [['config'], 1, /install\.sh lies in no checkout of triggerFS; run the one of a checkout, or give --package/],
    [['--package', 'http://example.com/triggerfs.tgz', 'config'], 1, /is not https: whoever is in between could change it/],
    [['--package', 'https://127.0.0.1:9/triggerfs.tgz', 'config'], 1, /cannot download https:\/\/127\.0\.0\.1:9\/triggerfs\.tgz: /],
    [['--package', SCRIPT, 'config'], 1, /install\.sh is no packed npm package/],
    [['--package', pack('old', 'package.json', 'install.sh'), 'config'], 1, /there is no installer in .*old\.tgz/],
    [['--package', complete, '--api', 'ftp://x', 'config'], 1, /ftp:\/\/x is no address/],
    [['--package', complete, 'dance'], 64, /there is no step dance/],
    [['--package', complete, '--team', 'team1', 'config'], 0, /^Configuration: wrote .*triggerfs\.toml\.\n$/],
    [['--package', complete, '--team', 'team1', 'config'], 0, /Nothing was changed: everything is in place\.\n$/],
  ];
  for (const [args, expected, message] of cases) {
    const { code, screen } = await here.run(['--yes', ...args], { env, piped: true });
    assert.equal(code, expected, screen);
    assert.match(screen, message);
  }
  const asked = await here.run(['--plain'], { env, piped: true });
  assert.match(asked.screen, /Packed triggerFS, a file or an address: .*the input has ended before all was answered/);
  assert.deepEqual(readdirSync(temporary), []);
});

test('an address that nobody answers at is noticed before more is asked for, and asked for again', async (t) => {
  const { screen } = await machine(t).run(['--plain'], { input: '1\nhttp://127.0.0.1:9\n3\nhttp://127.0.0.1:9/\n7\n' });
  assert.equal(screen.match(/Address of the control-plane/g)?.length, 2, screen);
  assert.equal(screen.match(/http:\/\/127\.0\.0\.1:9 does not answer: .*Check the address/g)?.length, 2, screen);
  assert.doesNotMatch(screen, /Identity/);
});

test('the unit of the system mounts no relative folder', async (t) => {
  const here = machine(t);
  const modules = join(here.home, 'modules');
  cpSync(join(packageRoot(), 'systemd'), join(modules, 'triggerfs', 'systemd'), { recursive: true });
  const units = join(here.home, 'units');
  const unit = async (mountpoint: string): Promise<string | undefined> => {
    here.file('triggerfs.toml', `[triggerfs]\nmountpoint = "${mountpoint}"`);
    const { code, screen } = await here.run(['--yes', '--dir', modules, '--services', 'fs', '--unit-dir', units, 'services']);
    assert.equal(code, 0, screen);
    return /^ExecStart=.*\/bin\/triggerfs (.*)$/m.exec(readFileSync(join(units, 'triggerfs-fs.service'), 'utf8'))?.[1];
  };
  const root = process.getuid?.() === 0;
  assert.equal(await unit('./mountpoint'), `-config ${here.config}${root ? ' -mountpoint /mnt/triggerfs' : ''}`);
  assert.equal(await unit('/srv/files'), `-config ${here.config}`);
});

test('answers that end early are an error', async (t) => {
  const { code, screen } = await machine(t).run([], { input: '9\n' });
  assert.equal(code, 64);
  assert.match(screen, /Choose one of 1 to 7\./);
  assert.match(screen, /the input has ended before all was answered/);
});

test('the Node.js that it brings is the one that triggerFS is tested with', () => {
  const { devDependencies } = JSON.parse(readFileSync(join(packageRoot(), 'package.json'), 'utf8')) as {
    devDependencies: { node: string };
  };
  assert.equal(/NODE_VERSION=(\S+)/.exec(readFileSync(join(PARTS, 'node.sh'), 'utf8'))?.[1], devDependencies.node);
});

test('a Node.js that is not the expected one is not used, whoever sends it', async (t) => {
  const here = machine(t);
  here.without('node', 'npm', 'npx');
  const asked: string[] = [];
  const registry = createServer((request, response) => {
    asked.push(request.url ?? '');
    response.end('something else');
  });
  registry.listen(0, '127.0.0.1');
  await once(registry, 'listening');
  t.after(() => registry.close());
  const { port } = registry.address() as AddressInfo;
  const folder = join(here.home, 'content', 'package');
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'package.json'), '{ "name": "triggerfs" }');
  const file = join(here.home, 'package.tgz');
  spawnSync('tar', ['-czf', file, '-C', join(here.home, 'content'), 'package']);
  const modules = join(here.home, 'modules');
  const args = ['--yes', '--package', file, '--dir', modules, '--bin-dir', 'none', 'modules'];
  const { code, screen } = await here.run(args, { env: { npm_config_registry: `http://127.0.0.1:${port}/npm/` } });
  assert.equal(code, 1, screen);
  assert.match(screen, /There is no Node\.js here: installing/);
  assert.match(screen, /the package node-linux-\S+ \S+ from http:\S+ is not the one that is expected; nothing was done with it/);
  assert.deepEqual(
    asked.map((url) => url.replace(/-(x64|arm64)/g, '').replaceAll(/\d+\.\d+\.\d+/g, 'V')),
    ['/npm/node-linux/-/node-linux-V.tgz'],
  );
  assert.equal(existsSync(join(modules, 'node')), false);
});
