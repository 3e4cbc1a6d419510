import assert from 'node:assert/strict';
import { before, beforeEach, suite, test } from 'node:test';
import { parseCrontab } from 'graphile-worker';
import pg from 'pg';
import { Registry } from 'prom-client';
import { historyTasks } from '../../control-plane/history/care.ts';
import { HistoryMetrics } from '../../control-plane/history/history-metrics.ts';
import { Partitions } from '../../control-plane/history/partitions.ts';
import { Retention } from '../../control-plane/history/retention.ts';
import { RollUp } from '../../control-plane/history/roll-up.ts';
import { CRONTAB } from '../../control-plane/jobs/tasks.ts';
import type { StatisticsHour } from '../../protocol/http/history.ts';
import { silentLogger } from '../../runtime/logging.ts';
import { type Fixture, startFixture, suiteCleanup } from './fixture.ts';
import { HistoryWriter } from './history-fixture.ts';

const DAY_MS = 86_400_000;
const HOUR_MS = 3_600_000;

suite('care for the history', () => {
  const cleanup = suiteCleanup();
  let api: Fixture;
  let writer: HistoryWriter;
  let pool: pg.Pool;
  let partitions: Partitions;
  let retention: Retention;

  before(async () => {
    api = await startFixture(cleanup);
    writer = await HistoryWriter.open(cleanup, api.databaseUrl);
    pool = new pg.Pool({ connectionString: api.databaseUrl, max: 5 });
    cleanup.after(() => pool.end());
    partitions = new Partitions(pool);
    retention = new Retention(pool, partitions, silentLogger());
    await writer.sql(`insert into triggerfs.teams (name) values ('c')`);
  });

  beforeEach(async () => {
    await writer.sql('truncate triggerfs.invocations, triggerfs.runs, triggerfs.outputs, triggerfs.statistics');
  });

  const today = (): number => Math.floor(Date.now() / DAY_MS) * DAY_MS;
  const dayText = (ms: number): string => new Date(ms).toISOString().slice(0, 10);

  /** Partitions of a day in the past, as they were made a while ago. */
  async function partitionsOf(ms: number): Promise<void> {
    for (const parent of ['invocations', 'runs', 'outputs']) {
      await writer.sql(
        `create table if not exists triggerfs.${parent}_${dayText(ms).replaceAll('-', '')} partition of triggerfs.${parent}
         for values from ('${dayText(ms)}') to ('${dayText(ms + DAY_MS)}')`,
      );
    }
  }

  function idOf(ms: number): string {
    const hex = ms.toString(16).padStart(12, '0');
    return `${hex.slice(0, 8)}-${hex.slice(8)}-7000-8000-${Math.random().toString(16).slice(2, 14).padEnd(12, '0')}`;
  }

  /** An invocation with a run and a block, as long ago. */
  async function old(team: string, ms: number): Promise<string> {
    const id = idOf(ms);
    const at = new Date(ms);
    await writer.invocation({ id, team, acceptedAt: at });
    await writer.run(id, { id: 1, identity: 'w1' }, { startedAt: at, team });
    await writer.block(id, 1, 0, [['x']], { at, team });
    return id;
  }

  async function count(table: string): Promise<number> {
    return (await writer.sql<{ n: number }>(`select count(*)::integer as n from triggerfs.${table}`))[0]?.n ?? 0;
  }

  test('each team keeps as much as its plan says, and a team that is gone keeps nothing', async () => {
    const noon = today() + 12 * HOUR_MS;
    await writer.sql(`update triggerfs.teams set plan = 'free' where name = 'a'; `);
    await writer.sql(`update triggerfs.teams set plan = 'unlimited', history_days = 3 where name = 'b'`);
    for (const days of [1, 2, 3, 4, 5]) await partitionsOf(noon - days * DAY_MS);
    for (const days of [0, 1, 2, 3, 4, 5]) {
      await old('a', noon - days * DAY_MS);
      await old('b', noon - days * DAY_MS);
    }
    await old('c', noon);
    await writer.sql(`delete from triggerfs.teams where name = 'c'`);
    assert.equal(await retention.enforce(), true);
    const left = await writer.sql<{ team: string; days: number }>(
      `select t.name as team, count(*)::integer as days from triggerfs.invocations i left join triggerfs.teams t on t.id = i.team_id group by 1 order by 1`,
    );
    assert.deepEqual(left, [
      { team: 'a', days: 2 },
      { team: 'b', days: 4 },
    ]);
    assert.deepEqual([await count('runs'), await count('outputs')], [6, 6]);
    assert.equal((await partitions.days()).includes(dayText(noon - 4 * DAY_MS)), false, 'nobody keeps four days');
    assert.equal((await partitions.days()).includes(dayText(noon - 3 * DAY_MS)), true, 'one of them keeps three');
  });

  test('a day that nobody keeps is dropped, and writers go on meanwhile', async () => {
    await writer.sql(`update triggerfs.teams set history_days = 2`);
    const gone = today() - 9 * DAY_MS;
    await partitionsOf(gone);
    await partitionsOf(today() - DAY_MS);
    for (let n = 0; n < 50; n += 1) await old('a', gone + n);
    let writing = true;
    const waits: number[] = [];
    const work = (async () => {
      const client = await HistoryWriter.open(cleanup, api.databaseUrl);
      while (writing) {
        const started = performance.now();
        await client.sql('begin');
        const id = await client.invocation({});
        await client.run(id, { id: 1, identity: 'w1' });
        await client.block(id, 1, 0, [['x']]);
        await client.sql('commit');
        waits.push(performance.now() - started);
      }
    })();
    // A reader that is in the middle of something holds the drop up, but not the writers.
    const reader = await pool.connect();
    await reader.query('begin');
    await reader.query('select count(*) from triggerfs.invocations');
    const dropping = retention.enforce();
    const before = waits.length;
    await new Promise((resolve) => setTimeout(resolve, 500));
    assert.ok(waits.length > before + 5, `${waits.length - before} writes while the drop waits`);
    assert.equal((await partitions.days()).includes(dayText(gone)), true, 'it waits for the reader');
    await reader.query('commit');
    reader.release();
    assert.equal(await dropping, true);
    writing = false;
    await work;
    assert.equal((await partitions.days()).includes(dayText(gone)), false);
    assert.ok(Math.max(...waits) < 400, `the longest write took ${Math.round(Math.max(...waits))} ms`);
    await writer.sql(`update triggerfs.teams set history_days = null`);
  });

  test('a drop that was cut off is taken to its end', async () => {
    await writer.sql(`update triggerfs.teams set history_days = 2`);
    const gone = today() - 12 * DAY_MS;
    await partitionsOf(gone);
    const name = dayText(gone).replaceAll('-', '');
    await writer.sql(`alter table triggerfs.outputs detach partition triggerfs.outputs_${name}`);
    const holder = await pool.connect();
    await holder.query('begin');
    await holder.query('select count(*) from triggerfs.runs');
    const cut = new pg.Client({ connectionString: api.databaseUrl, statement_timeout: 200 });
    await cut.connect();
    await assert.rejects(cut.query(`alter table triggerfs.runs detach partition triggerfs.runs_${name} concurrently`), /timeout/);
    await cut.end();
    await holder.query('commit');
    holder.release();
    assert.equal(await retention.enforce(), true);
    assert.equal((await partitions.days()).includes(dayText(gone)), false);
    await writer.sql(`update triggerfs.teams set history_days = null`);
  });

  test('partitions are there before anything is written to them', async () => {
    await writer.sql(`drop table triggerfs.outputs_${dayText(today() + 7 * DAY_MS).replaceAll('-', '')}`);
    assert.equal(await partitions.make(), 1);
    assert.equal(await partitions.make(), 0);
    const days = await partitions.days();
    for (const ahead of [0, 1, 7]) assert.ok(days.includes(dayText(today() + ahead * DAY_MS)), `${ahead} days ahead`);
  });

  test('hours are added up, kept, and the running one is computed', async () => {
    const registry = new Registry();
    const rollUp = new RollUp(pool, new HistoryMetrics(registry));
    const hour = Math.floor(Date.now() / HOUR_MS) * HOUR_MS - 3 * HOUR_MS;
    await partitionsOf(today() - DAY_MS);
    const ended = async (service: string, at: number, took: number, verdict = 'ok'): Promise<void> => {
      await writer.invocation({ service, verdict, id: idOf(at - took), acceptedAt: new Date(at - took), endedAt: new Date(at) });
    };
    for (let n = 1; n <= 100; n += 1) await ended('s1', hour + n * 1000, n * 10, n > 90 ? 'failed' : 'ok');
    await ended('s1', hour + HOUR_MS + 1, 5, 'cancelled');
    await ended('s2', hour + 1, 7, 'timeout');
    await writer.sql('update triggerfs.statistics_progress set until = $1', [new Date(hour)]);
    await rollUp.run();
    const token = await api.tokenOf('viewer');
    const statistics = async (query = ''): Promise<StatisticsHour[]> =>
      ((await api.call(`GET /v1/statistics${query}`, { token })).body as unknown as { items: StatisticsHour[] }).items;
    const iso = (ms: number): string => new Date(ms).toISOString();
    const first = await statistics();
    assert.deepEqual(
      first.map((row) => [row.service, row.hour, row.count, row.failures, Math.round(row.p50Ms), Math.round(row.p95Ms), row.live]),
      [
        ['s1', iso(hour + HOUR_MS), 1, 0, 5, 5, false],
        ['s1', iso(hour), 100, 10, 505, 951, false],
        ['s2', iso(hour), 1, 1, 7, 7, false],
      ],
    );
    await ended('s2', Date.now(), 50);
    const [live, ...rest] = await statistics('?service=S2&since=-4h');
    assert.deepEqual([live?.service, live?.count, live?.live, rest.length], ['s2', 1, true, 1]);
    // What a broker writes late is counted as well, and nothing twice.
    await ended('s2', hour + 5000, 9);
    await rollUp.run(4);
    assert.equal((await statistics('?service=s2')).find((row) => row.hour === iso(hour))?.count, 2);
    await writer.sql('truncate triggerfs.invocations');
    assert.equal((await statistics('?service=s1')).length, 2, 'statistics outlive the history');
    const theirs = await api.call('GET /v1/statistics', { token: await api.tokenOf('owner', 'b') });
    assert.deepEqual(theirs.body.items, []);
    assert.equal((await api.call('GET /v1/statistics?since=-500d', { token })).status, 400);
    assert.match(await registry.metrics(), /triggerfs_history_statistics_seconds_count [1-9]/);
  });

  test('keys are replaced, read as long as something needs them, and then deleted', async () => {
    const tasks = historyTasks(pool, silentLogger(), null);
    const rotate = async (): Promise<void> => void (await tasks.rotate_team_keys?.({}, {} as never));
    const id = await old('a', Date.now());
    const keys = (): Promise<{ id: number; retired: boolean }[]> =>
      writer.sql(
        `select k.id, retired_at is not null as retired from triggerfs.team_keys k join triggerfs.teams t on t.id = k.team_id where t.name = 'a' order by k.id`,
      );
    const [first] = await keys();
    await rotate();
    assert.deepEqual(await keys(), [{ id: first?.id, retired: false }], 'it is young');
    await writer.sql(`update triggerfs.team_keys set created_at = now() - interval '31 days'`);
    await rotate();
    assert.deepEqual(await keys(), [{ id: first?.id, retired: true }]);
    const fresh = await HistoryWriter.open(cleanup, api.databaseUrl);
    const next = await fresh.invocation({ payload: Buffer.from('new') });
    assert.equal((await keys()).length, 2);
    const token = await api.tokenOf('member');
    for (const wanted of [id, next]) assert.equal((await api.call(`GET /v1/history/${wanted}/output`, { token })).status, 200);
    // A secret of a webhook, say, lives longer than the history.
    await writer.sql(
      `insert into triggerfs.redactions (team_id, name, word) select t.id, 'w', i.payload from triggerfs.teams t, triggerfs.invocations i where t.name = 'a' and i.id = $1`,
      [next],
    );
    await writer.sql(`update triggerfs.team_keys set created_at = now() - interval '90 days', retired_at = now() - interval '60 days'`);
    await rotate();
    const left = await keys();
    assert.equal(left.length, 1, 'the first one is needed by nothing');
    assert.notEqual(left[0]?.id, first?.id);
    await writer.sql('delete from triggerfs.redactions');
    await rotate();
    assert.deepEqual(await keys(), []);
  });

  test('every column that holds something sealed is known to the deletion of keys', async () => {
    const known = [
      'channel_keys',
      'hook_deliveries.key',
      'hook_secrets.sealed',
      'invocations.payload',
      'outputs.data',
      'queue_callbacks.body',
      'queue_items.answer',
      'queue_items.idempotency_hash',
      'queue_items.payload',
      'queue_secrets.secret',
      'redactions.word',
      'team_keys.wrapped',
    ];
    const columns = await writer.sql<{ name: string }>(
      `select c.relname || '.' || a.attname as name from pg_attribute a join pg_class c on c.oid = a.attrelid
       where c.relnamespace = 'triggerfs'::regnamespace and c.relkind in ('r', 'p') and not c.relispartition and a.atttypid = 'bytea'::regtype
         and a.attname !~ '_hash$' and not a.attisdropped order by 1`,
    );
    for (const { name } of columns) assert.ok(known.includes(name), `${name}: does triggerfs.keys_in_use know it?`);
  });

  test('the clock of housekeeping names tasks that there are', () => {
    const names = Object.keys({ ...historyTasks(pool, silentLogger(), null) });
    const cron = parseCrontab(CRONTAB).map(({ task }) => task);
    for (const name of names) assert.ok(cron.includes(name), name);
  });

  test('the tasks run, and close what a lost broker left open', async () => {
    const tasks = historyTasks(pool, silentLogger(), null);
    const id = await writer.invocation({ verdict: null, acceptedAt: new Date(Date.now() - 120_000) });
    for (const task of Object.values(tasks)) await task?.({ hours: 1 }, {} as never);
    const [row] = await writer.sql('select verdict, error from triggerfs.invocations where id = $1', [id]);
    assert.deepEqual(row, { verdict: 'worker-lost', error: 'TFS_BROKER_LOST' });
  });
});
