import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import pg from 'pg';
import { silentLogger } from '../../runtime/logging.ts';
import { EmbeddedPostgres } from '../../runtime/postgres/embedded.ts';
import { isAlive } from '../../runtime/postgres/ownership.ts';
import { createPool } from '../../runtime/postgres/pool.ts';
import { lastFirst } from '../support/last-first.ts';
import { until } from '../support/wait.ts';

const MODULE = join(import.meta.dirname, '../../runtime/postgres/embedded.ts');
const LOGGING = join(import.meta.dirname, '../../runtime/logging.ts');

async function folder(t: Pick<TestContext, 'after'>): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'triggerfs-embedded-'));
  t.after(() => rm(path, { recursive: true, force: true }));
  return path;
}

function start(dataDir: string): Promise<EmbeddedPostgres> {
  return EmbeddedPostgres.start({ dataDir, port: 0, log: silentLogger(), fsync: false });
}

async function query(url: string, sql: string): Promise<unknown[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query({ text: sql, rowMode: 'array' })).rows.flat();
  } finally {
    await client.end();
  }
}

async function postmasterPid(dataDir: string): Promise<number> {
  return Number((await readFile(join(dataDir, 'data', 'postmaster.pid'), 'utf8')).split('\n')[0]);
}

test('keeps its data, needs its password, and is used by one process at a time', async (context) => {
  const t = lastFirst(context);
  const dataDir = await folder(t);
  const first = await start(dataDir);
  t.after(() => first.stop());
  await query(first.url, 'create table kept as select 42 as answer');
  assert.equal((await stat(join(dataDir, 'password'))).mode & 0o777, 0o600);
  const wrong = new URL(first.url);
  wrong.password = 'wrong';
  await assert.rejects(query(wrong.href, 'select 1'), /password authentication failed/);
  await assert.rejects(start(dataDir), { code: 'TFS_CONFLICT' });
  assert.deepEqual(await query(first.url, 'show listen_addresses'), ['127.0.0.1']);
  await first.stop();
  await assert.rejects(query(first.url, 'select 1'), /ECONNREFUSED/);

  const second = await start(dataDir);
  t.after(() => second.stop());
  assert.deepEqual(await query(second.url, 'select answer from kept'), [42]);
});

test('starts again after SIGKILL of the postmaster', async (context) => {
  const t = lastFirst(context);
  const dataDir = await folder(t);
  const first = await start(dataDir);
  t.after(() => first.stop());
  const pid = await postmasterPid(dataDir);
  process.kill(pid, 'SIGKILL');
  await until(async () => (await query(first.url, 'select 1').catch(() => null)) === null, { what: 'PostgreSQL is dead' });
  await first.stop();
  const second = await start(dataDir);
  t.after(() => second.stop());
  assert.deepEqual(await query(second.url, 'select 1'), [1]);
});

test('removes the pid file of a machine that lost power, although the number is in use', async (context) => {
  const t = lastFirst(context);
  const dataDir = await folder(t);
  await (await start(dataDir)).stop();
  await writeFile(join(dataDir, 'data', 'postmaster.pid'), `${process.ppid}\n${join(dataDir, 'data')}\n0\n5432\n\n127.0.0.1\n1 1\nready\n`);
  const again = await start(dataDir);
  t.after(() => again.stop());
  assert.deepEqual(await query(again.url, 'select 1'), [1]);
});

test('adopts the postmaster of a killed parent, and stops it', async (context) => {
  const t = lastFirst(context);
  const dataDir = await folder(t);
  const script = `
    import { EmbeddedPostgres } from ${JSON.stringify(MODULE)};
    import { silentLogger } from ${JSON.stringify(LOGGING)};
    await EmbeddedPostgres.start({ dataDir: ${JSON.stringify(dataDir)}, port: 0, log: silentLogger(), fsync: false });
    process.stdout.write('ready');
    setInterval(() => undefined, 1000);`;
  const parent = spawn(process.execPath, ['--input-type=module-typescript', '-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(parent.stdout, 'data');
  const pid = await postmasterPid(dataDir);
  parent.kill('SIGKILL');
  await once(parent, 'exit');

  const adopted = await start(dataDir);
  t.after(() => adopted.stop());
  assert.equal(await postmasterPid(dataDir), pid);
  assert.deepEqual(await query(adopted.url, 'select 1'), [1]);
  await adopted.stop();
  await until(() => !isAlive(pid), { what: 'the adopted postmaster is gone' });
});

test('as root, names the folder that is closed to PostgreSQL', { skip: process.getuid?.() !== 0 }, async (t) => {
  const closed = await folder(t);
  await chmod(closed, 0o700);
  await assert.rejects(start(join(closed, 'data')), (error: Error & { code: string }) => {
    assert.equal(error.code, 'TFS_CONFIG');
    assert.match(error.message, new RegExp(`the folder ${closed} is closed`));
    return true;
  });
});

test('a pool runs as its role, even where the address has options of its own', async (context) => {
  const t = lastFirst(context);
  const dataDir = await folder(t);
  const postgres = await start(dataDir);
  t.after(() => postgres.stop());
  await query(postgres.url, 'create role triggerfs_app nologin');
  const url = `${postgres.url}?options=${encodeURIComponent('-c work_mem=5MB')}`;
  const pool = createPool({ url, role: 'triggerfs_app', max: 1, name: 'test', log: silentLogger() });
  const { rows } = await pool.query("select current_user as who, current_setting('work_mem') as memory");
  assert.deepEqual(rows, [{ who: 'triggerfs_app', memory: '5MB' }]);
  await pool.end();
});
