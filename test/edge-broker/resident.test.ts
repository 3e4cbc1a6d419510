import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { type TestContext, test } from 'node:test';
import type { Broker } from '../../edge-broker/broker.ts';
import { outputAad, payloadAad, readBlock } from '../../protocol/history-block.ts';
import { LIMITS } from '../../protocol/limits.ts';
import type { HeldSchedule } from '../../protocol/resident.ts';
import { silentLogger } from '../../runtime/logging.ts';
import { createPool } from '../../runtime/postgres/pool.ts';
import { MasterKey, open, TeamKeys } from '../../runtime/sealing/index.ts';
import { formatInvocationId } from '../../runtime/wire/invocation-id.ts';
import { slotInvocationId } from '../../runtime/wire/slot-id.ts';
import { DatabaseProxy } from '../support/database-proxy.ts';
import { lastFirst } from '../support/last-first.ts';
import { masterKeyFile } from '../support/master-key.ts';
import { until } from '../support/wait.ts';
import { type Person, World } from '../support/world.ts';
import { chunksOf, ResidentPeer, ranWell } from './resident-peer.ts';

const JOURNAL = '00000000-0000-4000-8000-000000000001';
const OTHER = '00000000-0000-4000-8000-000000000002';

interface Stage {
  readonly t: Pick<TestContext, 'after'>;
  readonly world: World;
  readonly owner: Person;
  readonly worker: Person;
  readonly broker: Broker;
}

async function stage(test: TestContext): Promise<Stage> {
  const world = await World.create(test);
  const t = lastFirst(test);
  const owner = await world.addTeam('alpha');
  const worker = await world.addWorker(owner, 'worker1');
  await world.addService(owner, 'svc', { workers: [worker] });
  const broker = await world.broker();
  return { t, world, owner, worker, broker };
}

/** Inserts a schedule of every second and returns its id. */
async function addSchedule({ world, owner }: Stage, columns: Readonly<Record<string, unknown>> = {}): Promise<number> {
  const row = {
    team_id: owner.teamId,
    name: 'tick',
    every: '1s',
    service: 'svc',
    plugin: 'echo',
    resident: 'worker1',
    owner_id: owner.id,
    ...columns,
  };
  const names = Object.keys(row);
  const { rows } = await world.sql.query<{ id: number }>(
    `insert into triggerfs.schedules (${names.join(', ')}) values (${names.map((_, i) => `$${i + 1}`).join(', ')}) returning id`,
    Object.values(row),
  );
  return (rows[0] as { id: number }).id;
}

function held(schedule: number, last: number, generation = 1, version = 1): HeldSchedule {
  return { schedule, generation, version, last };
}

async function rowOf({ world }: Stage, schedule: number): Promise<Record<string, unknown>> {
  const { rows } = await world.sql.query('select * from triggerfs.schedules where id = $1', [schedule]);
  return rows[0] as Record<string, unknown>;
}

test('a connected worker gets the definition within the doorbell’s time, and each change of it', async (t) => {
  const all = await stage(t);
  const peer = await ResidentPeer.connect(all.t, all.world, all.worker, all.broker);
  assert.deepEqual(peer.counts, [0]);
  const id = await addSchedule(all, { payload: 'hi', args: { x: 'y' }, jitter: '2s' });
  await until(() => peer.counts.at(-1) === 1, { what: 'CONFIG counts the schedule', timeoutMs: 1_000 });
  const list = await peer.keep(JOURNAL);
  assert.deepEqual(list.schedules, [{ schedule: id, generation: 1 }]);
  const [definition] = peer.definitions;
  assert.equal(definition?.taken, false);
  assert.equal(definition?.everyMs, 1_000);
  assert.equal(definition?.from, definition?.anchor);
  assert.equal(definition?.timeoutMs, LIMITS.defaultTimeoutMs);
  assert.equal(definition?.offlineMs, 86_400_000);
  assert.deepEqual([definition?.payload, definition?.args, definition?.service, definition?.plugin], ['hi', { x: 'y' }, 'svc', 'echo']);
  assert.ok((definition?.offsetMs ?? -1) >= 0 && (definition?.offsetMs ?? 9_999) <= 2_000);

  await all.world.sql.query("update triggerfs.schedules set payload = 'ho' where id = $1", [id]);
  await until(() => peer.definitions.at(-1)?.payload === 'ho', { what: 'the changed payload', timeoutMs: 1_000 });
  assert.equal(peer.definitions.at(-1)?.from, definition?.from, 'its slots are the same');
  await all.world.sql.query("update triggerfs.services set plugins = '{other}' where name = 'svc'");
  await until(() => peer.definitions.at(-1)?.denied === 'service svc does not allow plugin echo', { what: 'the denial', timeoutMs: 1_000 });
  await all.world.sql.query("update triggerfs.schedules set every = null, cron = '* * * * * *' where id = $1", [id]);
  const changed = await until(() => peer.definitions.find(({ cron }) => cron !== null), { what: 'the changed rule', timeoutMs: 1_000 });
  assert.ok(changed.from > (definition?.from ?? 0), 'slots of the new rule count from the change');
  await all.world.sql.query('delete from triggerfs.schedules');
  await until(() => peer.lists.at(-1)?.schedules?.length === 0, { what: 'an empty list', timeoutMs: 1_000 });
});

test('the control-plane does not go on before the worker has let go, and goes on after its last slot', async (t) => {
  const all = await stage(t);
  const id = await addSchedule(all);
  const peer = await ResidentPeer.connect(all.t, all.world, all.worker, all.broker);
  await peer.keep(JOURNAL);
  const anchor = peer.definitions[0]?.anchor ?? 0;
  await all.world.sql.query('update triggerfs.schedules set resident = null where id = $1', [id]);
  assert.match(
    String((await rowOf(all, id)).error),
    /^worker worker1 may still fire it: it goes on when that worker has let go, at the latest at /,
  );
  await until(() => peer.lists.at(-1)?.schedules?.length === 0, { what: 'it is taken back' });
  assert.notEqual((await rowOf(all, id)).error, null);
  await peer.keep(JOURNAL, [], [held(id, anchor + 7_000)]);
  const row = await rowOf(all, id);
  assert.equal(row.error, null);
  assert.equal((row.planned_from as Date).getTime(), anchor + 7_000);
  const { rows } = await all.world.sql.query("select from graphile_worker.jobs where key = $1 and task_identifier = 'schedule.plan'", [
    `schedule:${id}`,
  ]);
  assert.equal(rows.length, 1);
});

test('a worker that never took it does not hold it up; one that is silent does until its time is over', async (t) => {
  const all = await stage(t);
  const { sql } = all.world;
  const untouched = await addSchedule(all, { name: 'untouched' });
  await sql.query('update triggerfs.schedules set resident = null where id = $1', [untouched]);
  assert.equal((await rowOf(all, untouched)).error, null);

  const silent = await addSchedule(all, { name: 'silent', offline: '1 minute' });
  const forced = await addSchedule(all, { name: 'forced' });
  const peer = await ResidentPeer.connect(all.t, all.world, all.worker, all.broker);
  await peer.keep(JOURNAL);
  await peer.stop();
  await sql.query('update triggerfs.schedules set resident = null where id = any($1)', [[silent, forced]]);
  await sql.query("update triggerfs.schedule_holds set ended_at = now() - interval '85 s' where schedule_id = $1", [silent]);
  assert.deepEqual((await sql.query('select triggerfs.lapse_holds() as n')).rows, [{ n: 0 }]);
  await sql.query("update triggerfs.schedule_holds set ended_at = now() - interval '91 s' where schedule_id = $1", [silent]);
  assert.deepEqual((await sql.query('select triggerfs.lapse_holds() as n')).rows, [{ n: 1 }]);
  assert.equal((await rowOf(all, silent)).error, null);
  assert.notEqual((await rowOf(all, forced)).error, null);
  await sql.query('select triggerfs.take_over_schedule($1)', [forced]);
  assert.equal((await rowOf(all, forced)).error, null);
});

test('two journals of one worker: the second gets nothing until the first has let go or its time is over', async (t) => {
  const all = await stage(t);
  const { sql } = all.world;
  const id = await addSchedule(all, { offline: '1 minute' });
  const first = await ResidentPeer.connect(all.t, all.world, all.worker, all.broker);
  await first.keep(JOURNAL);
  const second = await ResidentPeer.connect(all.t, all.world, all.worker, all.broker);
  await until(() => first.refused === 'TFS_CONFLICT', { what: 'the older session is refused' });
  const list = await second.keep(OTHER);
  assert.deepEqual(list.schedules, []);
  assert.equal(list.waiting?.[0]?.schedule, id);
  const wait = (list.waiting?.[0]?.until ?? 0) - Date.now();
  assert.ok(wait > 85_000 && wait <= 90_500, `${wait} ms`);
  assert.equal(second.definitions.length, 0);
  await sql.query("update triggerfs.schedule_holds set rival_since = rival_since - interval '91 s'");
  const taken = await second.keep(OTHER);
  assert.deepEqual(taken.schedules, [{ schedule: id, generation: 1 }]);
  assert.equal(second.definitions[0]?.taken, true);
  assert.ok(Date.now() - (second.definitions[0]?.from ?? 0) < 2_000, 'slots before are not fired again');
  const again = await ResidentPeer.connect(all.t, all.world, all.worker, all.broker);
  assert.deepEqual((await again.keep(JOURNAL)).schedules, [], 'the first one has lost it');
});

test('two journals at two brokers: the one that fires is not confirmed while the other waits, until it says that it is there', async (t) => {
  const all = await stage(t);
  const far = await all.world.broker('far');
  const id = await addSchedule(all, { offline: '1 minute' });
  const first = await ResidentPeer.connect(all.t, all.world, all.worker, all.broker);
  const list = await first.keep(JOURNAL);
  assert.deepEqual([list.schedules?.length, list.contested], [1, undefined]);
  const second = await ResidentPeer.connect(all.t, all.world, all.worker, far);
  assert.equal((await second.keep(OTHER)).waiting?.length, 1);
  await until(() => first.lists.at(-1)?.contested === true, { what: 'the first is told', timeoutMs: 2_000 });
  assert.deepEqual(first.lists.at(-1)?.schedules, [{ schedule: id, generation: 1 }]);
  const again = await ResidentPeer.connect(all.t, all.world, all.worker, all.broker);
  assert.deepEqual([(await again.keep(JOURNAL)).contested, again.lists.length], [undefined, 1]);
  const { rows } = await all.world.sql.query('select rival, journal from triggerfs.schedule_holds');
  assert.deepEqual(rows, [{ rival: null, journal: JOURNAL }]);
});

test('from worker to worker: the next one begins after the last slot of the one before', async (t) => {
  const all = await stage(t);
  const next = await all.world.addWorker(all.owner, 'worker2');
  const id = await addSchedule(all);
  const one = await ResidentPeer.connect(all.t, all.world, all.worker, all.broker);
  const two = await ResidentPeer.connect(all.t, all.world, next, all.broker);
  await one.keep(JOURNAL);
  const anchor = one.definitions[0]?.anchor ?? 0;
  await all.world.sql.query("update triggerfs.schedules set resident = 'worker2' where id = $1", [id]);
  await until(() => one.lists.at(-1)?.schedules?.length === 0, { what: 'it is taken from the first' });
  assert.deepEqual((await two.keep(OTHER)).schedules, []);
  await one.keep(JOURNAL, [], [held(id, anchor + 3_000)]);
  const definition = await until(() => two.definitions[0], { what: 'the second one gets it' });
  assert.deepEqual([definition.generation, definition.from, definition.anchor], [2, anchor + 3_000, anchor + 3_000]);
});

test('reports become rows of the schedule and of the history, once, with sealed output', async (t) => {
  const all = await stage(t);
  const { sql } = all.world;
  const id = await addSchedule(all);
  const peer = await ResidentPeer.connect(all.t, all.world, all.worker, all.broker);
  await peer.keep(JOURNAL);
  const now = Date.now();
  const base = now - (now % 1_000);
  const output = chunksOf([
    { text: 'one\n' },
    { stderr: true, text: Buffer.from([0xff, 0x00, 0x1b]) },
    { text: Buffer.alloc(70_000, 'z') },
  ]);
  const fires = [
    { report: ranWell(id, base - 3_000, output), output },
    {
      report: {
        schedule: id,
        generation: 1,
        due: base - 2_000,
        outcome: 'skipped' as const,
        reason: 'an earlier fire has not ended',
        at: base - 1_999,
      },
    },
    {
      report: {
        schedule: id,
        generation: 1,
        due: base - 90_000,
        through: base - 10_000,
        outcome: 'missed' as const,
        reason: 'x\u0000y',
        at: base,
      },
    },
    { report: { schedule: 4_711, generation: 1, due: base, outcome: 'fired' as const, reason: '', at: base } },
    { report: { schedule: id, generation: 9, due: base, outcome: 'fired' as const, reason: '', at: base } },
  ];
  const answer = await peer.fires(fires);
  assert.equal(answer.retry, undefined);
  assert.deepEqual(
    answer.refused?.map(({ fire }) => fire),
    [3, 4],
  );
  assert.equal((await peer.fires(fires)).retry, undefined);

  const metrics = await (await fetch(`${all.broker.gatewayUrl}/metrics`)).text();
  assert.match(metrics, /^triggerfs_resident_workers 1$/m);
  assert.match(metrics, /^triggerfs_resident_fires_total\{result="written"\} 6$/m);
  assert.match(metrics, /^triggerfs_resident_fires_total\{result="refused"\} 4$/m);

  const slots = await sql.query(
    'select outcome, worker, lateness_ms, invocation_id, through_at is not null as many from triggerfs.schedule_fires order by due_at',
  );
  assert.deepEqual(
    slots.rows.map(({ outcome, worker, many }) => [outcome, worker, many]),
    [
      ['missed', 'worker1', true],
      ['fired', 'worker1', false],
      ['skipped', 'worker1', false],
    ],
  );
  const invocations = await sql.query('select * from triggerfs.invocations');
  assert.equal(invocations.rows.length, 1);
  const row = invocations.rows[0];
  assert.deepEqual(
    [row.id, row.source, row.caller, row.schedule_id, row.service, row.plugin, row.verdict, row.exit_code, row.args, row.payload_bytes],
    [formatInvocationId(slotInvocationId(id, base - 3_000)), 'schedule', 'alpha-owner', id, 'svc', 'echo', 'ok', 0, { a: 'b' }, 5],
  );
  assert.equal(slots.rows[1].invocation_id, row.id);
  const runs = await sql.query('select identity, verdict, duration_us, output_bytes from triggerfs.runs');
  assert.deepEqual(runs.rows, [{ identity: 'worker1', verdict: 'ok', duration_us: '15000', output_bytes: '70007' }]);

  const pool = createPool({ url: all.world.url, max: 1, name: 'test', log: silentLogger() });
  all.t.after(() => pool.end());
  const keys = new TeamKeys(pool, await MasterKey.load(masterKeyFile(), pool));
  const team = all.owner.teamId;
  assert.equal((await open(keys, team, payloadAad(team, row.id), row.payload)).toString(), 'hello');
  const blocks = await sql.query('select block, data, gap from triggerfs.outputs order by block');
  const frames = [];
  for (const { block, data } of blocks.rows) {
    frames.push(...readBlock(await open(keys, team, outputAad(team, row.id, all.worker.id, 0, block), data)));
  }
  assert.deepEqual(
    frames.map(({ stream, data }) => [stream, data.length]),
    [
      ['stdout', 4],
      ['stderr', 3],
      ['stdout', 70_000],
    ],
  );
  const state = await rowOf(all, id);
  assert.equal((state.last_due_at as Date).getTime(), base - 2_000);
});

test('the same report through two brokers at once is written once; dropped output is said in the books', async (t) => {
  const all = await stage(t);
  const second = await all.world.broker('broker2');
  const id = await addSchedule(all);
  const gone = await addSchedule(all, { name: 'gone' });
  const peers = [
    await ResidentPeer.connect(all.t, all.world, all.worker, all.broker),
    await ResidentPeer.connect(all.t, all.world, all.worker, second),
  ];
  for (const peer of peers) assert.equal((await peer.keep(JOURNAL)).schedules?.length, 2);
  await all.world.sql.query('delete from triggerfs.schedules where id = $1', [gone]);
  const output = chunksOf([{ text: 'the end' }]);
  const due = Date.now() - 3 * 86_400_000;
  const slots = [id, gone].flatMap((schedule) => Array.from({ length: 50 }, (_, i) => ranWell(schedule, due + i * 1_000, output)));
  const fires = slots.map((report) => ({ report: { ...report, ...(report.run && { run: { ...report.run, droppedBytes: 5 } }) }, output }));
  const answers = await Promise.all(peers.map((peer) => peer.fires(fires)));
  for (const answer of answers) assert.deepEqual([answer.retry, answer.refused], [undefined, undefined]);
  const { rows } = await all.world.sql.query(
    `select (select count(*)::integer from triggerfs.schedule_fires) as fires, count(*)::integer as invocations, count(distinct id)::integer as ids,
       (select count(*)::integer from triggerfs.runs) as runs, (select count(*)::integer from triggerfs.outputs where gap) as outputs, min(detail) as detail
     from triggerfs.invocations`,
  );
  const detail = 'the worker’s journal had no room for 5 bytes of its output';
  assert.deepEqual(rows, [{ fires: 50, invocations: 100, ids: 100, runs: 100, outputs: 100, detail }]);
});

test('a slot that a hand-over wrote off as missed is what its worker made of it; what a control-plane fired stays', async (t) => {
  const all = await stage(t);
  const { sql } = all.world;
  const id = await addSchedule(all);
  const peer = await ResidentPeer.connect(all.t, all.world, all.worker, all.broker);
  await peer.keep(JOURNAL);
  const due = Date.now() - 5_000;
  await sql.query(
    `insert into triggerfs.schedule_fires (schedule_id, due_at, team_id, outcome, reason)
     values ($1, to_timestamp($3 / 1000.0), $2, 'missed', 'changed'), ($1, to_timestamp(($3 + 1000) / 1000.0), $2, 'fired', '')`,
    [id, all.owner.teamId, due],
  );
  const output = chunksOf([{ text: 'x' }]);
  await peer.fires([due, due + 1_000].map((slot) => ({ report: ranWell(id, slot, output), output })));
  const { rows } = await sql.query('select outcome, worker from triggerfs.schedule_fires order by due_at');
  assert.deepEqual(rows, [
    { outcome: 'fired', worker: 'worker1' },
    { outcome: 'fired', worker: null },
  ]);
  assert.equal((await sql.query('select from triggerfs.invocations')).rows.length, 1);
});

test('reports of a schedule that was deleted meanwhile are in the history, once', async (t) => {
  const all = await stage(t);
  const id = await addSchedule(all);
  const peer = await ResidentPeer.connect(all.t, all.world, all.worker, all.broker);
  await peer.keep(JOURNAL);
  await all.world.sql.query('delete from triggerfs.schedules');
  const output = chunksOf([{ text: 'late' }]);
  const fire = { report: ranWell(id, Date.now() - 5_000, output), output };
  for (let i = 0; i < 2; i += 1) assert.deepEqual(await peer.fires([fire]), { upload: i + 1 });
  const { rows } = await all.world.sql.query('select schedule_id, verdict from triggerfs.invocations');
  assert.deepEqual(rows, [{ schedule_id: id, verdict: 'ok' }]);
});

test('history = off keeps the slots only, meta no output; a report that cannot be stored does not stop the others', async (t) => {
  const all = await stage(t);
  const { sql } = all.world;
  const id = await addSchedule(all);
  const peer = await ResidentPeer.connect(all.t, all.world, all.worker, all.broker);
  await peer.keep(JOURNAL);
  const output = chunksOf([{ text: 'x' }]);
  const due = Date.now() - 60_000;
  for (const [i, level] of ['off', 'meta'].entries()) {
    await sql.query("update triggerfs.services set history = $1 where name = 'svc'", [level]);
    await until(() => all.broker.directory.team(all.owner.teamId)?.services.get('svc')?.history === level, { what: `history = ${level}` });
    assert.equal((await peer.fires([{ report: ranWell(id, due + i * 1_000, output), output }])).retry, undefined);
  }
  await sql.query("alter table triggerfs.schedule_fires add constraint bad check (reason <> 'bad')");
  const bad = ranWell(id, due + 5_000, output, { reason: 'bad' });
  const answer = await peer.fires([
    { report: bad, output },
    { report: ranWell(id, due + 6_000, output), output },
  ]);
  assert.deepEqual(
    answer.refused?.map(({ fire }) => fire),
    [0],
  );
  const { rows } = await sql.query(
    'select i.payload, (select count(*)::integer from triggerfs.outputs) as outputs from triggerfs.invocations i',
  );
  assert.deepEqual(rows, [
    { payload: null, outputs: 0 },
    { payload: null, outputs: 0 },
  ]);
  assert.equal((await sql.query('select from triggerfs.schedule_fires')).rows.length, 3);
});

test('while the database is down the broker says nothing, and the worker is told to report again', async (test) => {
  const world = await World.create(test);
  const t = lastFirst(test);
  const owner = await world.addTeam('alpha');
  const worker = await world.addWorker(owner, 'worker1');
  await world.addService(owner, 'svc', { workers: [worker] });
  const proxy = await DatabaseProxy.start(test, world.url);
  const direct = world.url;
  Object.assign(world, { url: proxy.url });
  const broker = await world.broker();
  Object.assign(world, { url: direct });
  const all: Stage = { t, world, owner, worker, broker };
  const id = await addSchedule(all);
  const peer = await ResidentPeer.connect(t, world, worker, broker);
  await until(() => peer.counts.at(-1) === 1, { what: 'CONFIG counts the schedule' });
  await peer.keep(JOURNAL);
  await until(() => broker.directory.team(owner.teamId) !== undefined, { what: 'the directory' });
  proxy.cut();
  const lists = peer.lists.length;
  const output = chunksOf([{ text: 'x' }]);
  const fire = { report: ranWell(id, Date.now() - 1_000, output), output };
  assert.notEqual((await peer.fires([fire])).retry, undefined);
  assert.equal(peer.lists.length, lists);
  proxy.heal();
  await until(async () => (await peer.fires([fire])).retry === undefined, { what: 'the report is taken', timeoutMs: 15_000 });
  await until(() => peer.lists.length > lists, { what: 'a word again', timeoutMs: 20_000 });
  assert.equal((await world.sql.query('select from triggerfs.schedule_fires')).rows.length, 1);
});

test('records that make no sense end the session, and nothing else', async (t) => {
  const all = await stage(t);
  const peer = await ResidentPeer.connect(all.t, all.world, all.worker, all.broker);
  const good = await ResidentPeer.connect(
    all.t,
    all.world,
    await all.world.addWorker(all.owner, 'worker2').then(async (person) => {
      await until(() => all.broker.directory.team(all.owner.teamId)?.workers.has(person.id), { what: 'the second worker is known' });
      return person;
    }),
    all.broker,
  );
  const report = ranWell(1, Date.now(), chunksOf([{ text: 'x' }]));
  peer.post([{ report, output: Buffer.from([0]) }]);
  await until(() => peer.refused === 'TFS_PROTOCOL', { what: 'the refusal' });
  assert.deepEqual((await good.keep(randomUUID())).schedules, []);
});

test('a worker cannot put slots into the future', async (t) => {
  const all = await stage(t);
  const peer = await ResidentPeer.connect(all.t, all.world, all.worker, all.broker);
  const id = await addSchedule(all);
  await peer.keep(JOURNAL);
  const far = 8_640_000_000_000_000;
  const now = Math.floor(Date.now() / 1000) * 1000;
  const slot = { schedule: id, generation: 1, outcome: 'missed' as const, reason: '', due: now, at: now };
  const answer = await peer.fires([
    { report: { ...slot, due: far } },
    { report: { ...slot, at: far } },
    { report: { ...slot, through: far } },
    { report: { ...slot, due: now + 2 * 86_400_000 } },
    { report: slot },
  ]);
  assert.deepEqual(
    answer.refused?.map(({ fire }) => fire),
    [0, 1, 2, 3],
  );
  assert.match(answer.refused?.[0]?.reason ?? '', /future/);
  const { rows } = await all.world.sql.query('select due_at from triggerfs.schedule_fires where schedule_id = $1', [id]);
  assert.deepEqual(
    rows.map((row) => row.due_at.getTime()),
    [now],
  );
  // Whoever is next begins after what was let go, which cannot be later than now.
  await all.world.sql.query('update triggerfs.schedules set resident = null where id = $1', [id]);
  await peer.keep(JOURNAL, [], [held(id, far)]);
  const { planned_from: from } = await rowOf(all, id);
  assert.ok((from as Date).getTime() < Date.now() + 2 * 86_400_000, String(from));
});
