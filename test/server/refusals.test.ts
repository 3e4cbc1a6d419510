import assert from 'node:assert/strict';
import { once } from 'node:events';
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { lastFirst } from '../support/last-first.ts';
import { createDatabase } from '../support/postgres.ts';
import { processesNaming, ServerProcess, serverFolder } from '../support/server.ts';
import { until } from '../support/wait.ts';

const ANY_PORT = ['--api-port', '0', '--broker-port', '0', '--gateway-port', '0', '--mountpoint', 'none'];

test('a port in use is named with its option, and nothing is left running', async (context) => {
  const t = lastFirst(context);
  const folder = serverFolder(t);
  const blocker = createServer().listen(0, '127.0.0.1');
  await once(blocker, 'listening');
  t.after(() => void blocker.close());
  const { port } = blocker.address() as AddressInfo;
  for (const option of ['--api-port', '--broker-port', '--gateway-port']) {
    const { code, stderr } = await new ServerProcess(t, ['--data-dir', join(folder, 'data'), ...ANY_PORT, option, String(port)]).ended;
    assert.equal(code, 78);
    assert.match(stderr, new RegExp(`127\\.0\\.0\\.1:${port}: it is in use; choose another port with ${option}`));
  }
  assert.deepEqual(processesNaming(folder), []);
});

test('two servers never share a data folder', async (context) => {
  const t = lastFirst(context);
  const env = { DATABASE_URL: await createDatabase(t) };
  const folder = serverFolder(t);
  const first = new ServerProcess(t, ['--json', '--data-dir', join(folder, 'data'), ...ANY_PORT], { env });
  await first.ready();
  const { code, stderr } = await new ServerProcess(t, ['--data-dir', join(folder, 'data'), ...ANY_PORT], { env }).ended;
  assert.equal(code, 73);
  assert.match(stderr, /another triggerfs-server is running on .*data \(TFS_CONFLICT\)/);
  assert.equal((await first.stop()).code, 0);
});

test('a signal during the start stops what has been started, whenever it comes', async (context) => {
  const t = lastFirst(context);
  const folder = serverFolder(t);
  const data = join(folder, 'data');
  const milestones = [
    () => true,
    () => processesNaming(join(data, 'postgres')).length > 0,
    () => processesNaming(join(data, 'triggerfs.toml')).length > 0,
    () => processesNaming(join(data, 'triggerfs.toml')).length > 1,
  ];
  for (const reached of milestones) {
    const server = new ServerProcess(t, ['--data-dir', data, ...ANY_PORT]);
    await until(() => server.stdout !== '' && reached(), { timeoutMs: 30_000, what: 'a part of the start' });
    const { code, stderr } = await server.stop('SIGINT');
    assert.equal(code, 0, stderr);
    assert.deepEqual(processesNaming(data), []);
  }
});

test('bad arguments and damaged configurations are refused with file and line', async (context) => {
  const t = lastFirst(context);
  const folder = serverFolder(t);
  const data = join(folder, 'data');
  const run = async (...args: string[]): Promise<[number | null, string]> => {
    const { code, stderr } = await new ServerProcess(t, ['--data-dir', data, ...ANY_PORT, ...args]).ended;
    return [code, stderr];
  };
  assert.deepEqual((await run('--api-port', '65536'))[0], 64);
  assert.match((await run('--api-port', '-1'))[1], /--api-port takes a number from 0 to 65535/);
  assert.match((await run('--colour'))[1], /unknown option --colour/);
  assert.match((await run('word'))[1], /unexpected word word/);
  mkdirSync(data, { recursive: true });
  writeFileSync(join(data, 'triggerfs.toml'), '[main]\nteem = "demo"\n');
  const [code, stderr] = await run();
  assert.equal(code, 78);
  assert.match(stderr, /triggerfs\.toml:2: main\.teem: unknown key/);
});

test('an unusable database of one’s own is an error, not a wait', async (context) => {
  const t = lastFirst(context);
  const folder = serverFolder(t);
  const server = new ServerProcess(t, ['--data-dir', join(folder, 'data'), ...ANY_PORT], {
    env: { DATABASE_URL: 'postgresql://nobody:secret@127.0.0.1:1/none' },
  });
  const { code, stderr } = await server.ended;
  assert.notEqual(code, 0);
  assert.match(stderr, /^triggerfs-server: .*(database|PostgreSQL)/i);
  assert.doesNotMatch(stderr, /secret/);
});

test('a data folder that PostgreSQL’s user cannot reach is named', {
  skip: process.getuid?.() !== 0 && 'only root runs PostgreSQL as another user',
}, async (context) => {
  const t = lastFirst(context);
  const folder = serverFolder(t);
  const closed = join(folder, 'closed');
  mkdirSync(closed);
  chmodSync(closed, 0o700);
  const { code, stderr } = await new ServerProcess(t, ['--data-dir', join(closed, 'data'), ...ANY_PORT]).ended;
  assert.equal(code, 78);
  assert.ok(stderr.includes(`${closed} is closed to others`), stderr);
});

test('what people wrote into the configuration stays', async (context) => {
  const t = lastFirst(context);
  const env = { DATABASE_URL: await createDatabase(t) };
  const folder = serverFolder(t);
  const data = join(folder, 'data');
  const start = async (): Promise<void> => {
    const server = new ServerProcess(t, ['--json', '--data-dir', data, ...ANY_PORT], { env });
    await server.ready();
    assert.equal((await server.stop()).code, 0);
  };
  await start();
  const file = join(data, 'triggerfs.toml');
  const first = readFileSync(file, 'utf8');
  writeFileSync(file, first.replace('[workers]', '[workers]\n# mine\nconcurrency = 3'));
  await start();
  assert.equal(readFileSync(file, 'utf8'), first.replace('[workers]', '[workers]\n# mine\nconcurrency = 3'));
});
