import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import pg from 'pg';
import { childEnvironment } from '../../runtime/environment.ts';
import { packageRoot } from '../../runtime/package-root.ts';
import { lastFirst } from '../support/last-first.ts';
import { createDatabase, createEmptyDatabase } from '../support/postgres.ts';
import { until } from '../support/wait.ts';

interface Program {
  readonly printed: { text: string };
  readonly ended: Promise<number | null>;
}

type Cleanup = Pick<TestContext, 'after'>;

function folder(t: Cleanup): string {
  const made = mkdtempSync(join(tmpdir(), 'triggerfs-order-'));
  t.after(() => rmSync(made, { recursive: true, force: true }));
  writeFileSync(
    join(made, 'triggerfs.toml'),
    '[main]\nmasterkey = "master.key"\n[control-plane]\nport = 0\n[broker]\nport = 0\ngateway_port = 0\nkeyfile = "broker.key"\ndrain = "1s"\n',
  );
  return made;
}

function start(
  t: Cleanup,
  where: string,
  name: 'control-plane' | 'edge-broker',
  databaseUrl: string,
  options: readonly string[] = [],
): Program {
  const program = join(packageRoot(), name, 'bin.ts');
  const child: ChildProcess = spawn(process.execPath, [program, '-config', join(where, 'triggerfs.toml'), '-json', ...options], {
    env: childEnvironment({ DATABASE_URL: databaseUrl }),
  });
  const printed = { text: '' };
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (text: string) => {
      printed.text += text;
    });
  }
  const ended = once(child, 'close').then(([code]) => code as number | null);
  t.after(async () => {
    child.kill('SIGTERM');
    await ended;
  });
  return { printed, ended };
}

const ready = (program: Program): Promise<unknown> =>
  until(() => program.printed.text.includes('"event":"ready"'), { timeoutMs: 60_000, what: `it is ready: ${program.printed.text}` });

test('a broker that comes before the first migration says so, waits, and starts once it is there', async (context) => {
  const t = lastFirst(context);
  const url = await createEmptyDatabase(t);
  const where = folder(t);
  const broker = start(t, where, 'edge-broker', url);
  await until(() => /has no tables of triggerFS yet: start a triggerfs-control-plane on it/.test(broker.printed.text), {
    timeoutMs: 30_000,
    what: `what it waits for: ${broker.printed.text}`,
  });
  await ready(start(t, where, 'control-plane', url));
  await ready(broker);
  assert.match(broker.printed.text, /the database is ready/);
});

test('a broker that is newer than the database waits for the control-plane that brings it up to date', async (context) => {
  const t = lastFirst(context);
  const url = await createDatabase(t);
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  await client.query('delete from triggerfs.migrations where version = (select max(version) from triggerfs.migrations)');
  await client.end();
  const broker = start(t, folder(t), 'edge-broker', url, ['-wait', '0']);
  assert.equal(await broker.ended, 69);
  assert.match(broker.printed.text, /has migration \d+ and this triggerFS needs \d+: start a triggerfs-control-plane/);
});

test('a database that is down is waited for, and named when the time is over', async (context) => {
  const t = lastFirst(context);
  const url = await createEmptyDatabase(t);
  const where = folder(t);
  const { port, proxied } = await closedPort(url);
  const control = start(t, where, 'control-plane', proxied);
  const broker = start(t, where, 'edge-broker', proxied);
  const impatient = start(t, where, 'edge-broker', proxied, ['-wait', '300ms']);
  for (const { printed } of [control, broker]) {
    await until(() => printed.text.includes('waiting up to '), { timeoutMs: 30_000, what: `it waits: ${printed.text}` });
  }
  assert.equal(await impatient.ended, 69);
  assert.match(
    impatient.printed.text,
    new RegExp(`cannot connect to the database "test_\\w+" at 127\\.0\\.0\\.1:${port}: .*TFS_UNAVAILABLE`, 's'),
  );
  const { hostname, port: real } = new URL(url);
  const server = createServer((socket) => {
    const other = connect(Number(real), hostname);
    socket.pipe(other).pipe(socket);
    for (const [one, two] of [
      [socket, other],
      [other, socket],
    ] as const) {
      one.on('error', () => undefined).on('close', () => two.destroy());
    }
  });
  server.listen(port, '127.0.0.1');
  t.after(() => void server.close());
  await ready(control);
  await ready(broker);
});

test('what does not pass by itself is told at once', async (context) => {
  const t = lastFirst(context);
  const url = await createDatabase(t);
  const where = folder(t);
  const wrong = new URL(url);
  wrong.pathname = '/no_such_database';
  for (const name of ['control-plane', 'edge-broker'] as const) {
    const program = start(t, where, name, wrong.href);
    assert.equal(await program.ended, 69, program.printed.text);
    assert.match(program.printed.text, /cannot connect to the database "no_such_database" .*does not exist/);
    assert.ok(wrong.password === '' || !program.printed.text.includes(wrong.password));
  }
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  const login = `stranger_${process.pid}`;
  await client.query(`create role ${login} login password 'x'`);
  t.after(async () => {
    await client.query(`drop role ${login}`);
    await client.end();
  });
  const stranger = new URL(url);
  [stranger.username, stranger.password] = [login, 'x'];
  const broker = start(t, where, 'edge-broker', stranger.href);
  assert.equal(await broker.ended, 78, broker.printed.text);
  assert.match(broker.printed.text, new RegExp(`grant triggerfs_edge to ${login}`));
});

/** A port where nobody listens, and the address of the database as if it were there. */
async function closedPort(url: string): Promise<{ port: number; proxied: string }> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, 'close');
  const proxied = new URL(url);
  [proxied.hostname, proxied.port] = ['127.0.0.1', String(port)];
  return { port, proxied: proxied.href };
}
