import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { cacheFolder } from '../../client/cache-folder.ts';
import { LoginCache } from '../../client/login-cache.ts';
import { fakeLogin } from './support.ts';

const LOGIN = fakeLogin([{ id: 'b', endpoint: 'tcp://127.0.0.1:5555', publicKey: 'k'.repeat(40), region: 'default' }]);

function place(t: TestContext): { folder: string; config: string; cache: LoginCache; file: () => string } {
  const folder = mkdtempSync(join(tmpdir(), 'triggerfs-login-cache-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const config = join(folder, 'triggerfs.toml');
  writeFileSync(config, 'secret');
  const cache = new LoginCache(folder, { api: 'http://a', team: 'demo', identity: 'demo', program: 'p', configFile: config });
  const file = (): string => join(folder, readdirSync(folder).find((name) => name.startsWith('login-')) as string);
  return { folder, config, cache, file };
}

test('a login comes back as it was kept, to the same person only', (t) => {
  const { folder, config, cache, file } = place(t);
  assert.equal(cache.load(), null);
  cache.save(LOGIN);
  assert.deepEqual(cache.load(), LOGIN);
  assert.equal(statSync(file()).mode & 0o777, 0o600);
  assert.equal(readdirSync(folder).length, 2, 'no temporary file is left');
  for (const change of [{ api: 'http://b' }, { team: 'other' }, { identity: 'other' }, { program: 'other' }, { configFile: null }]) {
    const other = new LoginCache(folder, { api: 'http://a', team: 'demo', identity: 'demo', program: 'p', configFile: config, ...change });
    assert.equal(other.load(), null, JSON.stringify(change));
  }
});

test('a damaged or expired login counts as absent', (t) => {
  const { cache, file } = place(t);
  cache.save(LOGIN);
  const text = readFileSync(file(), 'utf8');
  const { stamp } = JSON.parse(text) as { stamp: string };
  const logins = [
    null,
    [],
    'text',
    { ...LOGIN, expiresAt: Math.floor(Date.now() / 1000) - 1 },
    { ...LOGIN, expiresAt: '9999999999' },
    { ...LOGIN, edgeToken: 1 },
    { ...LOGIN, brokers: [] },
    { ...LOGIN, brokers: {} },
    { ...LOGIN, brokers: [null] },
    { ...LOGIN, brokers: [{ ...LOGIN.brokers[0], publicKey: 'short' }] },
    { ...LOGIN, channelKey: null },
    { ...LOGIN, channelKey: { publicKey: 'x', secretKey: 'y' } },
  ];
  for (const damaged of ['', '{', 'null', '[]', text.slice(0, -9), ...logins.map((login) => JSON.stringify({ stamp, login }))]) {
    writeFileSync(file(), damaged);
    assert.equal(cache.load(), null, damaged);
  }
  cache.save(LOGIN);
  assert.deepEqual(cache.load(), LOGIN);
});

test('a file that is not ours alone counts as absent', (t) => {
  const { folder, cache, file } = place(t);
  cache.save(LOGIN);
  chmodSync(file(), 0o640);
  assert.equal(cache.load(), null);
  cache.save(LOGIN);
  const name = file();
  renameSync(name, join(folder, 'elsewhere'));
  symlinkSync(join(folder, 'elsewhere'), name);
  assert.equal(cache.load(), null, 'a link');
  cache.save(LOGIN);
  assert.deepEqual(cache.load(), LOGIN, 'the link was replaced');
});

test('a changed configuration file makes the login worthless', (t) => {
  const { folder, config, cache } = place(t);
  cache.save(LOGIN);
  writeFileSync(config, 'another secret');
  const key = { api: 'http://a', team: 'demo', identity: 'demo', program: 'p', configFile: config };
  assert.equal(new LoginCache(folder, key).load(), null);
});

test('keeping a login in a folder that cannot be written does no harm', () => {
  const cache = new LoginCache('/proc/none', { api: 'a', team: 't', identity: 'i', program: 'p', configFile: null });
  cache.save(LOGIN);
  assert.equal(cache.load(), null);
});

test('the cache folder is private, or there is none', (t) => {
  const { folder, config } = place(t);
  const made = cacheFolder({ cacheHome: undefined, home: folder }) as string;
  assert.equal(made, join(folder, '.cache', 'triggerfs'));
  assert.equal(statSync(made).mode & 0o777, 0o700);
  chmodSync(made, 0o755);
  cacheFolder({ cacheHome: undefined, home: folder });
  assert.equal(statSync(made).mode & 0o777, 0o700);
  assert.equal(cacheFolder({ cacheHome: join(folder, 'xdg'), home: folder }), join(folder, 'xdg', 'triggerfs'));
  assert.equal(cacheFolder({ cacheHome: 'relative', home: folder }), made);
  for (const home of [undefined, '', '/dev/null', config]) assert.equal(cacheFolder({ cacheHome: undefined, home }), null);
});
