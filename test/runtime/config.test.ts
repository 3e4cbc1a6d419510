import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { TriggerFsError } from '../../protocol/errors.ts';
import { configPath, loadConfig, parseConfig } from '../../runtime/config/index.ts';
import type { Environment } from '../../runtime/environment.ts';

const NOWHERE: Environment = {
  configFile: undefined,
  databaseUrl: undefined,
  home: undefined,
  cacheHome: undefined,
  path: '/bin',
  lang: undefined,
  noColor: false,
  ci: false,
  libraryPath: undefined,
  shell: undefined,
  logLevel: undefined,
};

/** The message of the TFS_CONFIG error that a text gives. */
function refusal(source: string): string {
  try {
    parseConfig(source, '/etc/triggerfs.toml');
  } catch (error) {
    assert.ok(error instanceof TriggerFsError);
    assert.equal(error.code, 'TFS_CONFIG');
    return error.message;
  }
  throw new Error(`accepted: ${source.slice(0, 80)}`);
}

function folder(t: Pick<TestContext, 'after'>): string {
  const path = mkdtempSync(join(tmpdir(), 'triggerfs-config-'));
  t.after(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

test('an empty file gives the defaults', () => {
  const config = parseConfig('', null);
  assert.equal(config.main.api, 'http://127.0.0.1:8642');
  assert.equal(config['triggerfs-client'].timeout, null);
  assert.equal(config.triggerfs.spool_limit, 1e9);
  assert.equal(config.workers.plugins, null);
  assert.equal(config.workerCredentials.size, 0);
  assert.ok(Object.isFrozen(config) && Object.isFrozen(config.main));
});

test('the documented shape is read', () => {
  const config = parseConfig(
    `### MAIN SECTION
[main]
team = "myawesometeam"
identity = "myidentity"
secret = "password"
[workers]
pluginspath = '/opt/plugins'
plugins = ["echo", "file/append"]
[workers.team1.demo01]
token = "9b1bd278-e645-4eec-bffb-0587ad84534e"
[workers.team1.demo02]
token = 'other'
[workers.team2.demo01]
token = "third"
`,
    null,
  );
  assert.equal(config.main.secret, 'password');
  assert.deepEqual(config.workers.plugins, ['echo', 'file/append']);
  assert.deepEqual(config.workerCredentials.get('team1')?.get('demo02'), { token: 'other' });
  assert.deepEqual([...config.workerCredentials.keys()], ['team1', 'team2']);
});

test('unknown keys and sections are named with file and line', () => {
  assert.match(refusal('[main]\nteam = "a"\nsecrett = "x"\n'), /^\/etc\/triggerfs\.toml:3: main\.secrett: unknown key$/);
  assert.match(refusal('\n\n[mian]\nteam = "a"\n'), /^\/etc\/triggerfs\.toml:3: mian: unknown section$/);
  assert.match(refusal('[workers]\n[workers.demo.demo01]\ntoken = "x"\nsecret = "y"\n'), /:4: workers\.demo\.demo01\.secret: unknown key$/);
  assert.match(refusal('team = "a"\n'), /team: unknown section$/);
});

test('wrong types and values are named with what is expected', () => {
  assert.match(refusal('[main]\nteam = 7\n'), /:2: main\.team: a text in quotes is expected$/);
  assert.match(refusal('[broker]\n\nport = "5555"\n'), /:3: broker\.port: a whole number from 0 to 65535 is expected$/);
  assert.match(refusal('[broker]\nport = 65536\n'), /whole number/);
  assert.match(refusal('[broker]\nport = 1.5\n'), /whole number/);
  assert.match(refusal('[triggerfs]\nallow_other = "yes"\n'), /true or false is expected/);
  assert.match(refusal('[triggerfs]\nmax_age = 10\n'), /text in quotes/);
  assert.match(refusal('[triggerfs]\nmax_age = "10 parsecs"\n'), /a duration such as/);
  assert.match(refusal('[triggerfs]\nspool_limit = "big"\n'), /a size such as/);
  assert.match(refusal('[main]\nlog_format = "xml"\n'), /one of "text", "json" is expected/);
  assert.match(refusal('[workers]\nplugins = "echo"\n'), /a list of texts is expected/);
  assert.match(refusal('[workers]\nplugins = [1]\n'), /text in quotes/);
  assert.match(refusal('[workers.demo]\ndemo01 = "token"\n'), /workers\.demo\.demo01: a section is expected/);
  assert.match(refusal('[workers.demo.demo01]\n'), /token: a text in quotes is expected/);
  assert.match(refusal('main = "x"\n'), /main: a section is expected/);
});

test('errors never repeat a secret', () => {
  assert.doesNotMatch(refusal('[main]\nsecret = ["hunter2"]\n'), /hunter2/);
  assert.doesNotMatch(refusal('[workers.demo.demo01]\ntoken = ["hunter2"]\n'), /hunter2/);
});

test('a syntax error names its line', () => {
  assert.match(refusal('[main]\nteam = "a\n'), /^\/etc\/triggerfs\.toml:2: /);
  assert.match(refusal('[main]\nteam = "a"\nteam = "b"\n'), /^\/etc\/triggerfs\.toml:\d+: /);
  assert.match(refusal('[main'), /^\/etc\/triggerfs\.toml:1: /);
});

test('a byte order mark is no error', () => {
  assert.equal(parseConfig('\uFEFF[main]\nteam = "a"\n', null).main.team, 'a');
});

test('Windows line ends are no error', () => {
  assert.equal(parseConfig('[main]\r\nteam = "a"\r\n', null).main.team, 'a');
  assert.match(refusal('[main]\r\nteam = "a"\r\nteem = "b"\r\n'), /:3: main\.teem/);
});

test('__proto__ and constructor change nothing', () => {
  for (const name of ['__proto__', 'constructor', 'toString', 'hasOwnProperty']) {
    refusal(`[${name}]\nteam = "a"\n`);
    refusal(`[main]\n${name} = "a"\n`);
    refusal(`[main.${name}]\nadmin = true\n`);
  }
  assert.equal(({} as { admin?: unknown }).admin, undefined);
});

test('garbage is refused, deep nesting too, and neither crashes', () => {
  refusal('\u0000\u0001\u0002');
  refusal(`x = ${'['.repeat(5000)}${']'.repeat(5000)}`);
  refusal(`[${Array.from({ length: 5000 }, () => 'a').join('.')}]\nx = 1\n`);
  refusal(`x = ${'{a='.repeat(5000)}1${'}'.repeat(5000)}`);
});

test('files that are missing, too large, or no files are refused by name', (t) => {
  const path = folder(t);
  const large = join(path, 'large.toml');
  writeFileSync(large, `# ${'x'.repeat(1024 * 1024)}\n`);
  assert.throws(() => loadConfig(NOWHERE, large), /cannot read the configuration .*large\.toml: it is larger than 1048576 bytes/);
  assert.throws(() => loadConfig(NOWHERE, path), /it is not a regular file/);
  assert.throws(() => loadConfig(NOWHERE, join(path, 'none.toml')), /ENOENT/);
  assert.throws(() => loadConfig({ ...NOWHERE, configFile: join(path, 'none.toml') }), /ENOENT/);
});

test('the file is looked for in the documented order', (t) => {
  const path = folder(t);
  const before = process.cwd();
  t.after(() => process.chdir(before));
  process.chdir(path);
  mkdirSync('.triggerfs');
  mkdirSync('home');
  const env = { ...NOWHERE, home: join(path, 'home') };
  const found = (): string => loadConfig(env).main.team;
  assert.equal(found(), '');
  const write = (file: string): void => writeFileSync(file, `[main]\nteam = "${file}"\n`);
  for (const file of ['home/triggerfs.toml', '.triggerfs/triggerfs.toml', 'triggerfs.toml']) {
    write(file);
    assert.equal(found(), file);
  }
  write('env.toml');
  write('flag.toml');
  assert.equal(loadConfig({ ...env, configFile: 'env.toml' }).main.team, 'env.toml');
  assert.equal(loadConfig({ ...env, configFile: 'env.toml' }, 'flag.toml').main.team, 'flag.toml');
});

test('relative paths count from the folder of the file', () => {
  assert.equal(configPath(parseConfig('', '/etc/triggerfs/triggerfs.toml'), './spool'), '/etc/triggerfs/spool');
  assert.equal(configPath(parseConfig('', '/etc/triggerfs/triggerfs.toml'), '/var/spool'), '/var/spool');
  assert.equal(configPath(parseConfig('', null), 'spool'), join(process.cwd(), 'spool'));
});
