import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { Partitions } from '../../control-plane/history/partitions.ts';
import type { BrokerAddress } from '../../protocol/control.ts';
import { redactionAad } from '../../protocol/history-block.ts';
import { MasterKey, seal, TeamKeys } from '../../runtime/sealing/index.ts';
import { formatInvocationId, InvocationIds } from '../../runtime/wire/invocation-id.ts';
import { BrokerProcess } from '../support/broker-process.ts';
import { DatabaseProxy } from '../support/database-proxy.ts';
import { type FakeTask, FakeWorker } from '../support/fake-worker.ts';
import { masterKeyFile } from '../support/master-key.ts';
import { until } from '../support/wait.ts';
import { World } from '../support/world.ts';
import { HistoryStage } from './history-stage.ts';

const MIB = 1024 * 1024;

/** A stage whose broker reaches the database through a proxy. */
async function proxied(
  t: TestContext,
  options: Parameters<typeof HistoryStage.start>[1] = {},
): Promise<{ stage: HistoryStage; proxy: DatabaseProxy }> {
  let proxy: DatabaseProxy | null = null;
  const stage = await HistoryStage.start(t, {
    ...options,
    proxy: async (url) => {
      proxy = await DatabaseProxy.start(t, url);
      return proxy;
    },
  });
  return { stage, proxy: proxy as unknown as DatabaseProxy };
}

/** Output as fast as the reader's credit allows, in pieces of up to 32 KiB; resolves when all was sent. */
async function pour(task: FakeTask, bytes: number, piece = Buffer.alloc(32 * 1024, 'output ')): Promise<void> {
  for (let sent = 0; sent < bytes; ) {
    const size = Math.min(piece.length, bytes - sent, task.credit);
    if (size > 0) {
      task.output(piece.subarray(0, size));
      sent += size;
    } else if (task.cancelled) return;
    else await sleep(1);
  }
}

test('the database stops and comes back: routing goes on, and nothing is missing', async (t) => {
  const { stage, proxy } = await proxied(t);
  const before = await stage.call('before');
  await stage.stored(before);
  proxy.cut();
  const ids: string[] = [];
  for (let i = 0; i < 30; i += 1) ids.push(await stage.call(Buffer.alloc(10_000, `${i}`)));
  await until(() => stage.broker.history.budget.failing, { what: 'the writer notices' });
  assert.ok(stage.broker.history.lagMs > 0);
  proxy.heal();
  for (const [i, id] of ids.entries()) {
    assert.equal((await stage.stored(id, 20_000)).verdict, 'ok');
    assert.ok(Buffer.concat((await stage.output(id)).map(({ data }) => data)).equals(Buffer.alloc(10_000, `${i}`)));
  }
  assert.equal((await stage.invocations()).length, 31);
  const { counters } = stage.broker.history.budget;
  assert.deepEqual([counters.droppedBytes, counters.droppedInvocations], [0, 0]);
  await until(() => stage.broker.history.budget.buffered === 0 && stage.broker.history.lagMs === 0, { what: 'nothing waits any more' });
});

test('while the database is away for too long, output is dropped with a mark and counted; memory stays bounded', async (t) => {
  let task: FakeTask | null = null;
  const { stage, proxy } = await proxied(t, {
    limitBytes: MIB,
    worker: {
      onTask: (one) => {
        task = one;
        one.started();
      },
    },
  });
  const invocation = stage.client.invoke({ service: 'svc', plugin: 'echo', payload: 'x' });
  let seen = 0;
  const reading = (async () => {
    for await (const chunk of invocation) seen += chunk.data.length;
  })();
  const row = await until(async () => (await stage.invocations())[0], { what: 'the accepted row' });
  const running = task as unknown as FakeTask;
  await pour(running, 100_000);
  await until(async () => (await stage.output(row.id)).length > 0, { what: 'the first output is stored' });
  proxy.cut();
  await pour(running, 1000);
  await until(() => stage.broker.history.budget.failing, { what: 'the writer notices' });
  await pour(running, 3 * MIB);
  const { budget } = stage.broker.history;
  assert.ok(budget.counters.droppedBytes > MIB, `${budget.counters.droppedBytes} bytes were dropped`);
  assert.ok(budget.buffered < 1.25 * MIB, `${budget.buffered} bytes wait`);
  const text = await (await fetch(`${stage.broker.gatewayUrl}/metrics`)).text();
  assert.match(text, /triggerfs_history_dropped_total\{what="output_bytes"\} [1-9]/);
  assert.match(text, /triggerfs_history_buffered_bytes [1-9]/);
  proxy.heal();
  await until(() => !budget.failing && budget.buffered < 1000, { timeoutMs: 20_000, what: 'the writer has caught up' });
  running.output('after the gap');
  running.result();
  await Promise.all([reading, invocation.outcome]);
  assert.equal(seen, 100_000 + 1000 + 3 * MIB + 13, 'the caller got everything');
  const stored = await stage.stored(row.id, 20_000);
  assert.deepEqual([stored.verdict, Number(stored.output_bytes)], ['ok', seen]);
  const pieces = await stage.output(row.id);
  const kept = pieces.reduce((sum, { data }) => sum + data.length, 0);
  assert.equal(kept + budget.counters.droppedBytes, seen, 'what is missing is counted');
  const last = pieces.at(-1);
  assert.deepEqual([last?.data.toString(), last?.gap], ['after the gap', true]);
  assert.ok(pieces.slice(0, -1).every(({ gap }) => !gap));
});

test('while the database is slow, readers wait and then new requests are refused; nothing is dropped', async (t) => {
  const stage = await HistoryStage.start(t, {
    limitBytes: MIB,
    worker: {
      onTask: (task) => {
        task.started();
        if (task.payload.toString() === 'much') void pour(task, 2 * MIB).then(() => task.result());
        else task.result();
      },
    },
  });
  const { budget } = stage.broker.history;
  await stage.stored(await stage.call('first'));
  const lock = await stage.connect(t);
  await lock.query('begin; lock table triggerfs.outputs in share mode');
  let ended = false;
  const much = stage.call('much').finally(() => {
    ended = true;
  });
  await until(() => budget.congested, { what: 'the history is behind' });
  await sleep(300);
  assert.ok(!ended && budget.buffered < MIB, `${budget.buffered} bytes wait`);
  await until(
    async () => {
      const invocation = stage.client.invoke({ service: 'svc', plugin: 'echo', payload: Buffer.alloc(200_000) });
      for await (const _ of invocation);
      return (await invocation.outcome).verdict === 'busy';
    },
    { timeoutMs: 3_500, what: 'a request is refused' },
  );
  assert.equal(budget.failing, false, 'all of that before the database counts as gone');
  await lock.query('rollback');
  const id = await much;
  await stage.stored(id, 20_000);
  assert.equal(
    (await stage.output(id)).reduce((sum, { data }) => sum + data.length, 0),
    2 * MIB,
  );
  assert.equal(budget.counters.droppedBytes, 0);
});

test('dropping a day does not block writers, also when a long reader is in its way', async (t) => {
  const stage = await HistoryStage.start(t);
  const { sql } = stage.world;
  await sql.query(
    `insert into triggerfs.outputs (day, invocation_id, team_id, worker_id, attempt, block, first_sequence, bytes, at, data)
     select (now() at time zone 'UTC')::date - 1, triggerfs.uuid_v7(), $1, 1, 0, 0, 0, 1, now(), 'x' from generate_series(1, 100)`,
    [stage.owner.teamId],
  );
  const reader = await stage.connect(t);
  await reader.query('begin; select count(*) from triggerfs.outputs');
  const pool = new pg.Pool({ connectionString: stage.world.url, max: 1 });
  const yesterday = new Date(Date.now() - 86_400_000).toISOString().slice(0, 10);
  let dropped = false;
  const drop = new Partitions(pool).drop(yesterday).then(() => {
    dropped = true;
  });
  let slowest = 0;
  for (let i = 0; i < 8; i += 1) {
    const id = await stage.call();
    const started = performance.now();
    await stage.stored(id);
    slowest = Math.max(slowest, performance.now() - started);
  }
  assert.equal(dropped, false, 'somebody reads');
  assert.ok(slowest < 1_000, `${slowest} ms until a row was there`);
  await reader.query('rollback');
  await drop;
  await pool.end();
  assert.equal((await sql.query(`select from triggerfs.outputs where data = 'x'`)).rowCount, 0);
  await stage.stored(await stage.call());
});

test('fail-over to another broker leaves one invocation and no output twice', async (t) => {
  const world = await World.create(t);
  const owner = await world.addTeam('alpha');
  const person = await world.addWorker(owner, 'worker1');
  await world.addService(owner, 'svc', { workers: [person], timeoutMs: 30_000 });
  const [first, second] = (await Promise.all(['one', 'two'].map((name) => BrokerProcess.start(t, world, name)))) as [
    BrokerProcess,
    BrokerProcess,
  ];
  const tasks: FakeTask[] = [];
  await FakeWorker.connectTo(t, world, person, [first.address as BrokerAddress, second.address as BrokerAddress], {
    onTask: (task) => {
      tasks.push(task);
      task.started();
      task.output('one\n');
      task.output('two\n');
      if (tasks.length === 1) return;
      task.output('three\n');
      task.result();
    },
  });
  const client = await world.clientOf(owner, [first.address as BrokerAddress, second.address as BrokerAddress]);
  const invocation = client.invoke({ service: 'svc', plugin: 'echo', payload: 'x' });
  const outputs = async (): Promise<{ block: number; bytes: number }[]> =>
    (await world.sql.query<{ block: number; bytes: number }>('select block, bytes from triggerfs.outputs order by block')).rows;
  await until(async () => (await outputs()).length > 0, { what: 'the first output is stored' });
  const { rows: before } = await world.sql.query<{ broker_id: string }>('select broker_id from triggerfs.invocations');
  const busy = [first, second].find((broker) => broker.address?.id === before[0]?.broker_id) as BrokerProcess;
  await busy.kill('SIGKILL');
  let text = '';
  for await (const chunk of invocation) text += chunk.data.toString();
  assert.equal((await invocation.outcome).verdict, 'ok');
  assert.equal(text, 'one\ntwo\nthree\n');
  const { rows } = await until(
    async () => {
      const found = await world.sql.query('select verdict, broker_id, accepted_at, taken_at from triggerfs.invocations');
      return found.rows[0]?.verdict === null ? null : found;
    },
    { what: 'the verdict is stored' },
  );
  assert.equal(rows.length, 1);
  assert.equal(rows[0].verdict, 'ok');
  assert.notEqual(rows[0].broker_id, busy.address?.id);
  assert.ok(rows[0].accepted_at < rows[0].taken_at);
  assert.deepEqual((await world.sql.query('select attempt, verdict from triggerfs.runs')).rows, [{ attempt: 0, verdict: 'ok' }]);
  const blocks = await outputs();
  assert.deepEqual(
    blocks.map(({ block }) => block),
    [...blocks.keys()],
  );
  assert.equal(
    blocks.reduce((sum, { bytes }) => sum + bytes, 0),
    14,
  );
});

test('the same request again, on the same broker, is one row', async (t) => {
  const stage = await HistoryStage.start(t);
  const ids = new InvocationIds();
  const id = ids.next();
  const route = stage.client.route({ service: 'svc', plugin: 'echo' });
  for (const resume of [false, true, true]) {
    await new Promise<void>((resolve) => route.send(Buffer.from('again'), { done: () => resolve() }, { invocation: id, resume }));
  }
  await stage.stored(formatInvocationId(id));
  await until(() => stage.broker.history.budget.buffered === 0, { what: 'everything is stored' });
  assert.equal((await stage.invocations()).length, 1);
  assert.equal((await stage.runs()).length, 1);
  assert.deepEqual(
    (await stage.output(formatInvocationId(id))).map(({ data }) => data.toString()),
    ['again'],
  );
});

test('an id that a caller takes again is one row, and holds up nothing that is stored with it', async (t) => {
  const stage = await HistoryStage.start(t);
  const id = new InvocationIds().next();
  const route = stage.client.route({ service: 'svc', plugin: 'echo' });
  const call = (invocation: Buffer) =>
    new Promise<void>((resolve) => route.send(Buffer.from('taken'), { done: () => resolve() }, { invocation }));
  await call(id);
  await stage.stored(formatInvocationId(id));
  const others = Array.from({ length: 5 }, () => new InvocationIds().next());
  await Promise.all([call(id), ...others.map(call)]);
  for (const other of others) await stage.stored(formatInvocationId(other));
  await until(() => stage.broker.history.budget.buffered === 0, { what: 'everything is stored' });
  assert.equal((await stage.invocations()).length, 6);
  assert.equal((await stage.runs()).length, 6);
});

test('what a lost broker left open is closed, what somebody still answers for is not', async (t) => {
  const stage = await HistoryStage.start(t);
  const { sql } = stage.world;
  const open = async (name: string, broker: string, deadline: string, taken: string): Promise<void> => {
    await sql.query(
      `with i as (
         insert into triggerfs.invocations (day, id, team_id, broker_id, service, plugin, algorithm, source, payload_bytes, timeout_ms, deadline_at,
           expected, accepted_at, taken_at)
         select (now() at time zone 'UTC')::date, triggerfs.uuid_v7(), $1, $2, $3, 'echo', 'roundrobin', 'client', 0, 1000,
           now() + $4::interval, 1, now() + $5::interval, now() + $5::interval returning day, id, team_id
       ) insert into triggerfs.runs (day, invocation_id, team_id, worker_id, identity, attempt, accepted_at, started_at)
       select day, id, team_id, 1, $3, 0, now(), now() from i`,
      [stage.owner.teamId, broker, name, deadline, taken],
    );
  };
  const { id } = stage.broker;
  await open('lost', randomUUID(), '-1 minute', '-2 minutes');
  await open('restarted', id, '-1 minute', '-2 minutes');
  await open('alive', id, '-1 minute', '1 second');
  await open('within-grace', randomUUID(), '-10 seconds', '-2 minutes');
  await open('before-deadline', randomUUID(), '1 minute', '-2 minutes');
  await open('for-a-day', id, '-25 hours', '1 second');
  const jobs = await stage.connect(t);
  await jobs.query('set role triggerfs_jobs');
  assert.equal((await jobs.query('select triggerfs.close_lost_invocations() as n')).rows[0]?.n, 3);
  const { rows } = await sql.query(
    `select i.service, i.verdict, i.error, i.exit_code, r.verdict as run from triggerfs.invocations i join triggerfs.runs r on r.invocation_id = i.id order by 1`,
  );
  const lost = { verdict: 'worker-lost', error: 'TFS_BROKER_LOST', exit_code: 69, run: 'worker-lost' };
  const kept = { verdict: null, error: null, exit_code: null, run: null };
  assert.deepEqual(rows, [
    { service: 'alive', ...kept },
    { service: 'before-deadline', ...kept },
    { service: 'for-a-day', ...lost },
    { service: 'lost', ...lost },
    { service: 'restarted', ...lost },
    { service: 'within-grace', ...kept },
  ]);
  assert.equal((await jobs.query('select triggerfs.close_lost_invocations() as n')).rows[0]?.n, 0);
});

test('secrets are blackened in what is stored, never in what the caller gets', async (t) => {
  const word = 'correct horse';
  const apiToken = `tfs_${'A1b2'.repeat(11)}`.slice(0, 47);
  const stage = await HistoryStage.start(t, {
    worker: {
      onTask: (task) => {
        task.started();
        task.output(`word ${word.slice(0, 5)}`);
        task.output(`${word.slice(5)} token ${apiToken} `);
        task.output(Buffer.from(`Basic user:${word}`).toString('base64'));
        task.result();
      },
    },
  });
  const keys = new TeamKeys(stage.world.sql, await MasterKey.load(masterKeyFile(), stage.world.sql));
  const sealed = seal(await keys.current(stage.owner.teamId), redactionAad(stage.owner.teamId, 'password'), Buffer.from(word));
  await stage.world.sql.query('insert into triggerfs.redactions (team_id, name, word) values ($1, $2, $3)', [
    stage.owner.teamId,
    'password',
    sealed,
  ]);
  await stage.broker.directory.sync();
  const session = stage.world.token(stage.owner);
  const invocation = stage.client.invoke({ service: 'svc', plugin: 'echo', payload: `log in with ${session}`, args: { secret: word } });
  let text = '';
  for await (const chunk of invocation) text += chunk.data.toString();
  assert.ok(text.includes(word) && text.includes(apiToken), 'the caller gets it as it is');
  const row = await stage.stored((await invocation.manifest)?.invocation ?? '');
  assert.equal((await stage.payload(row))?.toString(), `log in with ${'*'.repeat(session.length)}`);
  assert.deepEqual(row.args, { secret: '*'.repeat(word.length) });
  const stored = Buffer.concat((await stage.output(row.id)).map(({ data }) => data)).toString();
  assert.equal(stored.length, text.length);
  assert.ok(stored.startsWith(`word ${'*'.repeat(word.length)} token ${'*'.repeat(apiToken.length)} `));
  assert.ok(!Buffer.from(stored.replaceAll('*', 'A').slice(66), 'base64').toString().includes('horse'));
});

test('a word that reaches from an argument into the JSON around it fails no statement', async (t) => {
  const stage = await HistoryStage.start(t, { worker: { onTask: (task) => task.result() } });
  const { teamId } = stage.owner;
  const key = await new TeamKeys(stage.world.sql, await MasterKey.load(masterKeyFile(), stage.world.sql)).current(teamId);
  for (const [name, word] of Object.entries({ quoted: '"a":"x', escaped: 'u0001secret', inside: 'password' })) {
    const values = [teamId, name, seal(key, redactionAad(teamId, name), Buffer.from(word))];
    await stage.world.sql.query('insert into triggerfs.redactions (team_id, name, word) values ($1, $2, $3)', values);
  }
  await stage.broker.directory.sync();
  const args = { a: 'x', b: '\u0001secret', c: 'my password' };
  const invocation = stage.client.invoke({ service: 'svc', plugin: 'echo', payload: '', args });
  await invocation.outcome;
  const row = await stage.stored((await invocation.manifest)?.invocation ?? '');
  assert.deepEqual(row.args, { ...args, c: 'my ********' });
});

test('a team that is deleted while it calls leaves nothing behind in memory', async (t) => {
  let task: FakeTask | null = null;
  const stage = await HistoryStage.start(t, {
    worker: {
      onTask: (one) => {
        task = one;
        one.started();
      },
    },
  });
  const { sql } = stage.world;
  await sql.query(`create function triggerfs.no_keys() returns trigger language plpgsql as $$ begin
    raise exception 'the team is gone' using errcode = 'foreign_key_violation'; end $$`);
  await sql.query('create trigger no_keys before insert on triggerfs.team_keys for each row execute function triggerfs.no_keys()');
  const invocation = stage.client.invoke({ service: 'svc', plugin: 'echo', payload: 'x' });
  const running = await until(() => task as FakeTask | null, { what: 'the task' });
  const { budget } = stage.broker.history;
  for (let i = 0; i < 5; i += 1) {
    running.output('output');
    await until(() => budget.counters.droppedBytes === 6 * (i + 1) && budget.buffered === 0, { what: 'the output is dropped' });
  }
  running.result();
  assert.equal((await invocation.outcome).verdict, 'ok');
  await until(() => budget.counters.droppedInvocations === 1 && budget.buffered === 0, { what: 'the row is dropped' });
  assert.deepEqual(await stage.invocations(), []);
});

test('an id that another team takes, too, is another invocation', async (t) => {
  const stage = await HistoryStage.start(t, { service: { visibility: 'public', plugins: ['echo'] } });
  const stranger = await stage.world.client(await stage.world.addTeam('beta'), [stage.broker]);
  const id = new InvocationIds().next();
  for (const [client, service, payload] of [
    [stranger, 'alpha/svc', 'theirs'],
    [stage.client, 'svc', 'ours'],
  ] as const) {
    const route = client.route({ service, plugin: 'echo' });
    await new Promise<void>((resolve) => route.send(Buffer.from(payload), { done: () => resolve() }, { invocation: id }));
  }
  await until(() => stage.broker.history.budget.buffered === 0, { what: 'everything is stored' });
  const rows = await until(
    async () => {
      const found = await stage.invocations();
      return found.length === 2 && found.every((row) => row.verdict !== null) ? found : null;
    },
    { what: 'both are stored' },
  );
  const payloads = await Promise.all(rows.map(async (row) => [row.team_id === stage.owner.teamId, String(await stage.payload(row))]));
  assert.deepEqual(payloads, [
    [false, 'theirs'],
    [true, 'ours'],
  ]);
  assert.equal((await stage.runs()).length, 2);
});

test('what the database never takes is dropped alone, not with what came in the same moment', async (t) => {
  const stage = await HistoryStage.start(t);
  await stage.world.sql.query(`create function refuse() returns trigger language plpgsql as $$ begin
      if new.args ? 'poison' then raise exception 'never' using errcode = '22023'; end if; return new; end $$;
    create trigger refuse before insert on triggerfs.invocations for each row execute function refuse()`);
  const calls = Array.from({ length: 20 }, (_, n) =>
    stage.client.invoke({ service: 'svc', plugin: 'echo', payload: `call ${n}`, args: n === 7 ? { poison: '1' } : {} }),
  );
  await Promise.all(calls.map((call) => call.outcome));
  await until(async () => (await stage.invocations()).filter((row) => row.verdict !== null).length === 19, {
    what: 'the others are stored',
  });
  await until(() => stage.broker.history.budget.counters.droppedInvocations > 0, { what: 'the one is given up' });
  const payloads = await Promise.all((await stage.invocations()).map(async (row) => String(await stage.payload(row))));
  assert.deepEqual(new Set(payloads), new Set(Array.from({ length: 20 }, (_, n) => `call ${n}`).toSpliced(7, 1)));
  assert.equal(stage.broker.history.budget.failing, false);
  await until(() => stage.broker.history.budget.buffered === 0, { what: 'nothing is left in memory' });
  await stage.stored(await stage.call());
});
