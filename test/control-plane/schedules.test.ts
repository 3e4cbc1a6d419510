import assert from 'node:assert/strict';
import { before, suite, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import type { FireView, ScheduleView } from '../../protocol/http/schedule.ts';
import { until } from '../support/wait.ts';
import { type Answer, type Fixture, startFixture, suiteCleanup } from './fixture.ts';

interface FireRow {
  readonly due_at: Date;
  readonly outcome: string;
  readonly source: string;
  readonly lateness_ms: string;
  readonly invocation_id: string | null;
  readonly reason: string;
  readonly state: string | null;
}

suite('schedules', () => {
  const cleanup = suiteCleanup();
  let api: Fixture;
  let team: number;
  let token: string;
  let count = 0;

  before(async () => {
    api = await startFixture(cleanup);
    team = (await api.sql<{ id: number }>(`select id from triggerfs.teams where name = 'a'`))[0]?.id as number;
    await api.sql(`insert into triggerfs.services (team_id, name) values ($1, 'demo')`, [team]);
    await api.sql(`insert into triggerfs.directories (team_id, path) values ($1, '/demo')`, [team]);
    await api.sql(
      `insert into triggerfs.triggers (team_id, directory_id, name, service_id, plugin, args, timeout_ms)
       select $1, d.id, 'command', s.id, 'command/command', '{"a": "trigger", "b": "trigger"}', 7000 from triggerfs.directories d, triggerfs.services s`,
      [team],
    );
    token = await api.tokenOf('owner');
  });

  /** Inserts a schedule as people do; what is not given is a service. Returns its id. */
  async function insert(columns: Record<string, unknown>): Promise<number> {
    const row = { team_id: team, name: `s${++count}`, service: 'demo', plugin: 'command/command', payload: 'uptime', ...columns };
    const names = Object.keys(row);
    const sql = `insert into triggerfs.schedules (${names.join(', ')}) values (${names.map((_, index) => `$${index + 1}`).join(', ')}) returning id`;
    return (await api.sql<{ id: number }>(sql, Object.values(row)))[0]?.id as number;
  }

  function fires(id: number): Promise<FireRow[]> {
    return api.sql<FireRow>(
      `select f.*, q.state from triggerfs.schedule_fires f left join triggerfs.queue_items q on q.id = f.invocation_id
       where f.schedule_id = $1 order by f.due_at`,
      [id],
    );
  }

  async function row(id: number): Promise<Record<string, unknown>> {
    return (await api.sql<Record<string, unknown>>('select * from triggerfs.schedules where id = $1', [id]))[0] ?? {};
  }

  function planned(id: number): Promise<unknown> {
    return until(async () => (await row(id)).next_run_at, { what: 'the schedule is planned' });
  }

  const jobs = (id: number): Promise<{ task_identifier: string }[]> =>
    api.sql(`select task_identifier from graphile_worker.jobs where key = 'schedule:' || $1::integer`, [id]);

  function call(route: string, body?: unknown, as = token): Promise<Answer> {
    return api.call(route, { token: as, ...(body === undefined ? {} : { body }) });
  }

  test('a schedule whose row was locked when it was to be planned is planned as soon as the row is free', async () => {
    const id = await insert({ cron: '0 0 1 1 *' });
    await planned(id);
    // As a hand-over leaves it: without a next run, and its row in the hands of somebody who changes something else of it.
    await api.sql('update triggerfs.schedules set next_run_at = null, planned_from = now() where id = $1', [id]);
    const holder = new pg.Client({ connectionString: api.databaseUrl });
    await holder.connect();
    try {
      await holder.query('begin');
      await holder.query('update triggerfs.schedules set last_outcome = last_outcome where id = $1', [id]);
      await api.sql(`select triggerfs.add_schedule_jobs('schedule.plan', array[$1::integer], array[now()])`, [id]);
      await until(async () => (await jobs(id)).length === 0, { what: 'the job is done with' });
      assert.equal((await row(id)).next_run_at, null);
      await holder.query('commit');
    } finally {
      await holder.end();
    }
    await until(async () => (await row(id)).next_run_at, { timeoutMs: 4_000, what: 'the schedule is planned' });
  });

  test('a row is all it takes: it fires on time, and its invocation is in the queue', async () => {
    const id = await insert({ run_at: new Date(Date.now() + 1_500), args: '{"key": "value"}', retries: 2, timeout: '9 s' });
    await until(async () => (await fires(id)).length === 1, { what: 'it fires' });
    const [fire] = await fires(id);
    assert.equal(fire?.outcome, 'fired');
    assert.ok(Number(fire?.lateness_ms) < 1_000, `late by ${fire?.lateness_ms} ms`);
    const [item] = await api.sql('select * from triggerfs.queue_items where id = $1', [fire?.invocation_id]);
    assert.deepEqual(
      [item?.source, item?.service, item?.plugin, item?.args, item?.schedule_id, item?.retries, item?.timeout_ms, item?.concurrency_key],
      ['schedule', 'demo', 'command/command', { key: 'value' }, id, 2, 9_000, `schedule:${id}`],
    );
    const after = await row(id);
    assert.deepEqual([after.next_run_at, after.last_outcome, after.last_item], [null, 'fired', fire?.invocation_id]);
    assert.equal((await call(`GET /v1/schedules/${id}`)).body.state, 'finished');
    // Nothing of it is planned again, also not by the sweep for lost jobs.
    await api.sql('select triggerfs.heal_schedules()');
    assert.deepEqual(await jobs(id), []);
  });

  test('what is rolled back never fires', async () => {
    const client = new pg.Client({ connectionString: api.databaseUrl });
    await client.connect();
    await client.query('begin');
    await client.query(
      `insert into triggerfs.schedules (team_id, name, every, service, plugin) values ($1, 'rolled-back', '1 s', 'demo', 'command/command')`,
      [team],
    );
    await client.query('rollback');
    await client.end();
    const witness = await insert({ every: '1 s', overlap: 'allow' });
    await until(async () => (await fires(witness)).length >= 2, { what: 'another one fires' });
    assert.deepEqual(await api.sql(`select from triggerfs.schedules where name = 'rolled-back'`), []);
    assert.deepEqual(
      await api.sql(
        'select from triggerfs.schedule_fires f where not exists (select from triggerfs.schedules s where s.id = f.schedule_id)',
      ),
      [],
    );
    await api.sql('delete from triggerfs.schedules where id = $1', [witness]);
  });

  test('every second: one slot, one row, one invocation, each on time', async () => {
    const id = await insert({ cron: '* * * * * *', overlap: 'allow' });
    await until(async () => (await fires(id)).length >= 4, { what: 'four slots' });
    await call(`POST /v1/schedules/${id}/pause`, {});
    const rows = await fires(id);
    rows.forEach(({ due_at, invocation_id }, index) => {
      assert.equal(due_at.getTime(), (rows[0] as FireRow).due_at.getTime() + index * 1_000);
      assert.ok(invocation_id !== null);
    });
    const late = rows.slice(1).map(({ lateness_ms }) => Number(lateness_ms));
    assert.ok(Math.max(...late) < 1_000, `late by ${late}`);
    const [items] = await api.sql<{ n: number }>('select count(*)::integer as n from triggerfs.queue_items where schedule_id = $1', [id]);
    assert.equal(items?.n, rows.length);
    // Slots that are near stay in the timer: there was no job for each.
    assert.deepEqual(await jobs(id), []);
    await sleep(1_100);
    assert.equal((await fires(id)).length, rows.length, 'paused');
  });

  test('a long run on a short period, under each policy, with the real clock', async () => {
    const ids = { skip: 0, queue: 0, allow: 0 };
    for (const overlap of ['skip', 'queue', 'allow'] as const) ids[overlap] = await insert({ every: '1 s', overlap });
    for (const id of Object.values(ids)) await until(async () => (await fires(id)).length >= 4, { what: 'four slots' });
    await api.sql('update triggerfs.schedules set enabled = false where id = any($1)', [Object.values(ids)]);
    // Nobody takes items of this service, so the first run lasts as long as the test.
    const outcomes = async (id: number): Promise<string[]> => (await fires(id)).map(({ outcome }) => outcome);
    assert.deepEqual((await outcomes(ids.skip)).slice(0, 4), ['fired', 'skipped', 'skipped', 'skipped']);
    assert.deepEqual((await outcomes(ids.queue)).slice(0, 4), ['fired', 'fired', 'skipped', 'skipped']);
    assert.ok((await outcomes(ids.allow)).every((outcome) => outcome === 'fired'));
    const [skipped] = (await fires(ids.queue)).slice(2);
    assert.deepEqual([skipped?.invocation_id, skipped?.reason], [null, 'an earlier fire has not ended, and another one waits']);
    const keys = await api.sql<{ concurrency_key: string | null }>(
      'select distinct concurrency_key from triggerfs.queue_items where schedule_id = $1',
      [ids.allow],
    );
    assert.deepEqual(keys, [{ concurrency_key: null }]);
    // Ended ones are in nobody's way.
    await api.sql(`update triggerfs.queue_items set state = 'done', ended_at = now() where schedule_id = $1`, [ids.skip]);
    const before = (await fires(ids.skip)).length;
    await api.sql('update triggerfs.schedules set enabled = true where id = $1', [ids.skip]);
    await until(async () => (await fires(ids.skip)).length > before, { what: 'it fires again' });
    assert.equal((await outcomes(ids.skip))[before], 'fired');
    await api.sql('delete from triggerfs.schedules where id = any($1)', [Object.values(ids)]);
  });

  test('a trigger is run with its rule, and the row follows when it moves', async () => {
    const id = await insert({ cron: '@yearly', trigger: '/demo/command', service: null, plugin: null, args: '{"b": "schedule"}' });
    const ran = await call(`POST /v1/schedules/${id}/run`);
    assert.equal(ran.status, 202, ran.body.detail);
    assert.equal(ran.headers.get('location'), `/v1/invocations/${ran.body.id}`);
    const [item] = await api.sql('select * from triggerfs.queue_items where id = $1', [ran.body.id]);
    assert.deepEqual(
      [item?.service, item?.plugin, item?.args, item?.timeout_ms, item?.caller],
      ['demo', 'command/command', { a: 'trigger', b: 'schedule' }, 7_000, 'owner-a'],
    );
    const [fire] = (await call(`GET /v1/schedules/${id}/fires`)).body.items as unknown as FireView[];
    assert.deepEqual([fire?.source, fire?.outcome, fire?.invocationId], ['manual', 'fired', ran.body.id]);

    await api.sql(`update triggerfs.directories set path = '/moved' where path = '/demo'`);
    assert.equal((await row(id)).trigger, '/moved/command');
    await api.sql(`update triggerfs.triggers set name = 'other' where name = 'command'`);
    assert.equal((await row(id)).trigger, '/moved/other');
    const [trigger] = await api.sql<{ id: number }>(`select id from triggerfs.triggers where name = 'other'`);
    assert.equal((await row(id)).trigger_id, trigger?.id);
    // The trigger loses what it runs: the slot is accounted for.
    await api.sql('update triggerfs.triggers set plugin = null');
    assert.match((await call(`POST /v1/schedules/${id}/run`)).body.detail, /nothing to run: its trigger has no service or no plugin/);
    await api.sql(`update triggerfs.schedules set run_at = now() + interval '200 ms', cron = null where id = $1`, [id]);
    const missed = await until(async () => (await fires(id)).find(({ source }) => source === 'clock'), { what: 'the slot passes' });
    assert.deepEqual([missed.outcome, missed.reason, missed.invocation_id], ['missed', 'its trigger has no service or no plugin', null]);

    await api.sql('delete from triggerfs.triggers');
    assert.deepEqual([(await row(id)).error, (await row(id)).next_run_at], ['the trigger /moved/other is gone', null]);
    assert.equal((await call(`GET /v1/schedules/${id}`)).body.state, 'error');
    await api.sql(`update triggerfs.schedules set trigger = null, service = 'demo', plugin = 'command/command' where id = $1`, [id]);
    assert.equal((await row(id)).error, null);
  });

  test('services and workers may be renamed', async () => {
    await api.sql(`insert into triggerfs.services (team_id, name) values ($1, 'old')`, [team]);
    await api.sql(`insert into triggerfs.workers (team_id, identity, token_hash) values ($1, 'w1', sha256('w1'))`, [team]);
    const service = await insert({ cron: '@yearly', service: 'old' });
    const worker = await insert({ cron: '@yearly', service: 'W1', resident: 'w1' });
    await api.sql(`update triggerfs.services set name = 'new' where name = 'old'`);
    await api.sql(`update triggerfs.workers set identity = 'w2' where identity = 'w1'`);
    assert.equal((await row(service)).service, 'new');
    assert.deepEqual([(await row(worker)).service, (await row(worker)).resident], ['w2', 'w2']);
    assert.equal((await row(worker)).next_run_at, null, 'the worker keeps its clock');
    assert.deepEqual(await jobs(worker), []);
  });

  test('what SQL can see to be wrong is refused there, what only Node can see is told', async () => {
    for (const [columns, message] of [
      [{ every: '1 month' }, /schedules_every/],
      [{ every: '500 ms' }, /schedules_every/],
      [{ cron: '* * *' }, /schedules_cron/],
      [{ cron: '* * * * *', every: '1 s' }, /schedules_one_rule/],
      [{ cron: '@daily', timezone: 'Mars/Olympus' }, /there is no time zone Mars\/Olympus/],
      [{ cron: '@daily', service: 'nobody' }, /service nobody does not exist/],
      [{ cron: '@daily', trigger: '/no/trigger', service: null, plugin: null }, /there is no trigger \/no\/trigger/],
      [{ cron: '@daily', resident: 'nobody' }, /there is no worker nobody/],
      [{ cron: '@daily', args: '{"a": 1}' }, /schedules_args/],
      [{ cron: '@daily', catchup: 'maybe' }, /schedules_catchup/],
    ] as const) {
      await assert.rejects(insert(columns), message);
    }
    const bad = await insert({ cron: '61 * * * *' });
    const why = 'cron "61 * * * *": minute 61 is not possible';
    await until(async () => (await row(bad)).error === why, { what: 'the error is told' });
    const [mail] = await api.sql<{ subject: string; body: string }>(`select subject, body from triggerfs.mails where kind = 'schedule'`);
    assert.equal(mail?.subject, `The schedule s${count} cannot be planned`);
    assert.ok(mail?.body.startsWith(why));
    await api.sql(`update triggerfs.schedules set cron = '1 * * * *' where id = $1`, [bad]);
    assert.ok((await planned(bad)) instanceof Date);
    assert.equal((await row(bad)).error, null);
    const both = await insert({ cron: '0 0 13 * 5' });
    await until(async () => String((await row(both)).error).includes('two schedules'), { what: 'the error is told' });
  });

  test('an edit while a slot is due', async () => {
    const id = await insert({ run_at: new Date(Date.now() + 700) });
    await planned(id);
    await api.sql(`update triggerfs.schedules set run_at = now() + interval '1 hour', payload = 'other' where id = $1`, [id]);
    await planned(id);
    await sleep(1_000);
    assert.deepEqual(await fires(id), [], 'the old slot did not fire');
    // A slot that is overdue when the rule changes goes with its rule, and leaves its row.
    const overdue = await insert({ cron: '@yearly' });
    await planned(overdue);
    await api.sql(`begin; update triggerfs.schedules set next_run_at = now() - interval '1 s' where id = ${overdue};
      update triggerfs.schedules set cron = '@monthly' where id = ${overdue}; commit`);
    const [lost] = await fires(overdue);
    assert.deepEqual([lost?.outcome, lost?.reason], ['missed', 'the schedule was changed before it could fire']);
  });

  test('deleting while it fires leaves nothing behind', async () => {
    const ids: number[] = [];
    for (let index = 0; index < 20; index += 1) ids.push(await insert({ cron: '* * * * * *', overlap: 'allow' }));
    await until(async () => (await api.sql('select from triggerfs.schedule_fires where schedule_id = any($1)', [ids])).length >= 20, {
      what: 'fires',
    });
    // Around the start of a second, in the middle of their transaction.
    await sleep(1_000 - (Date.now() % 1_000) + 5);
    await api.sql('delete from triggerfs.schedules where id = any($1)', [ids]);
    const items = (): Promise<unknown[]> => api.sql('select from triggerfs.queue_items where schedule_id = any($1)', [ids]);
    const left = (await items()).length;
    await sleep(1_200);
    assert.equal((await items()).length, left);
    assert.deepEqual(await api.sql('select from triggerfs.schedule_fires where schedule_id = any($1)', [ids]), []);
    assert.deepEqual(
      await api.sql(`select from graphile_worker.jobs where key = any(select 'schedule:' || unnest($1::integer[]))`, [ids]),
      [],
    );
  });

  test('over HTTP: rules replace each other, errors name the field, and a preview shows local time', async () => {
    const made = await call('POST /v1/schedules', {
      name: 'nightly',
      cron: '0 3 * * *',
      timezone: 'America/New_York',
      service: 'demo',
      plugin: 'command/command',
    });
    assert.equal(made.status, 201, made.body.detail);
    assert.deepEqual([made.body.state, made.body.owner, made.body.catchup, made.body.overlap], ['active', 'owner-a', 'one', 'skip']);
    const dueNext = await until(async () => (await call('GET /v1/schedules/nightly')).body.nextRunAt as unknown as string | null, {
      what: 'it is planned',
    });
    const preview = (await call('GET /v1/schedules/nightly/preview?count=400')).body.items as unknown as { dueAt: string; local: string }[];
    assert.equal(preview[0]?.dueAt, dueNext);
    assert.equal(preview.length, 400);
    assert.ok(
      preview.every(({ local }) => /T03:00:00-0[45]:00$/.test(local)),
      'at three in the morning, all year',
    );

    const every = await call('PATCH /v1/schedules/nightly', { everyMs: 10_000, jitterMs: 5_000 });
    assert.deepEqual([every.body.cron, every.body.everyMs, every.body.jitterMs], [null, 10_000, 5_000]);
    const once = await call('PATCH /v1/schedules/nightly', { runAt: '2031-07-01T18:00' });
    assert.deepEqual([once.body.everyMs, once.body.runAt], [null, '2031-07-01T22:00:00.000Z']);
    const target = await call('PATCH /v1/schedules/nightly', { service: null, plugin: null });
    assert.deepEqual([target.body.state, target.body.error], ['incomplete', 'it has no trigger, or no service with a plugin, yet']);

    for (const [body, code, detail] of [
      [{ cron: '61 * * * *' }, 'TFS_BAD_REQUEST', /minute 61 is not possible/],
      [{ cron: '@daily', everyMs: 1_000 }, 'TFS_BAD_REQUEST', /one of cron, every and run_at/],
      [{ timezone: 'Mars/Olympus' }, 'TFS_BAD_REQUEST', /there is no time zone Mars/],
      [{ runAt: 'tomorrow at five' }, 'TFS_BAD_REQUEST', /is no time such as/],
      [{ runAt: '2027-02-30' }, 'TFS_BAD_REQUEST', /is no time such as/],
      [{ trigger: '/no/trigger' }, 'TFS_NOT_FOUND', /there is no trigger/],
      [{ trigger: '/a/b', service: 'demo' }, 'TFS_BAD_REQUEST', /a trigger, or a service/],
      [{ service: 'nobody', plugin: 'command/command' }, 'TFS_UNKNOWN_SERVICE', /nobody does not exist/],
      [{ resident: 'nobody' }, 'TFS_NOT_FOUND', /no worker nobody/],
      [{ everyMs: 10 }, 'TFS_BAD_REQUEST', /./],
      [{ next_run_at: 'x' }, 'TFS_BAD_REQUEST', /./],
    ] as const) {
      const answer = await call('PATCH /v1/schedules/nightly', body);
      assert.equal(answer.body.code, code, `${JSON.stringify(body)}: ${answer.body.detail}`);
      assert.match(answer.body.detail, detail);
    }
    assert.equal((await call('POST /v1/schedules', { name: 'NIGHTLY' })).body.code, 'TFS_CONFLICT');
    assert.equal((await call('DELETE /v1/schedules/nightly')).status, 204);
    assert.equal((await call('GET /v1/schedules/nightly')).status, 404);
  });

  test('pause, pause until, resume', async () => {
    const id = await insert({ every: '1 s', overlap: 'allow' });
    await until(async () => (await fires(id)).length > 0, { what: 'it fires' });
    const paused = await call(`POST /v1/schedules/${id}/pause`, { until: new Date(Date.now() + 2_500).toISOString() });
    assert.deepEqual([paused.body.state, paused.body.enabled], ['paused', true]);
    const until_ = Date.parse(String(paused.body.pausedUntil));
    const before = (await fires(id)).length;
    await until(async () => (await fires(id)).length > before, { what: 'it goes on by itself' });
    const [first] = (await fires(id)).slice(before);
    assert.ok((first?.due_at.getTime() ?? 0) >= until_, 'no slot lies in the pause');
    assert.equal((await call(`POST /v1/schedules/${id}/pause`, {})).body.state, 'paused');
    assert.equal((await row(id)).next_run_at, null);
    assert.equal((await call(`POST /v1/schedules/${id}/resume`)).body.state, 'active');
    await planned(id);
    await api.sql('delete from triggerfs.schedules where id = $1', [id]);
  });

  test('an application sees and changes schedules of its team, and fills in nothing that is ours', async (t) => {
    const login = `test_app_${process.pid}`;
    await api.sql(`create role ${login} login password 'x'`);
    t.after(async () => {
      await api.sql(`drop owned by ${login}; drop role ${login}`);
    });
    await api.sql('select triggerfs.create_application($1, $2)', [login, 'a']);
    await api.sql(`insert into triggerfs.services (team_id, name) select id, 'theirs' from triggerfs.teams where name = 'b'`);
    const address = new URL(api.databaseUrl);
    address.username = login;
    address.password = 'x';
    const client = new pg.Client({ connectionString: address.href });
    await client.connect();
    t.after(() => client.end());
    const insertAs = (columns: string, values: string): Promise<pg.QueryResult> =>
      client.query(
        `insert into triggerfs.schedules (name, service, plugin${columns}) values ('from-app', 'demo', 'command/command'${values}) returning *`,
      );
    await client.query(`select set_config('app.team', (100)::text, false)`);
    const { rows } = await insertAs(', every', `, '1 h'`);
    assert.equal(rows[0].team_id, team, 'of its own team, whatever it says');
    await assert.rejects(insertAs(', every, next_run_at', `, '1 h', now()`), /permission denied/);
    await assert.rejects(insertAs(', every, team_id', `, '1 h', 2`), /permission denied/);
    await assert.rejects(
      client.query(`insert into triggerfs.schedules (name, every, service, plugin) values ('x', '1 h', 'theirs', 'command/command')`),
      /does not exist/,
    );
    // What a rollback of the configuration may do, a login cannot claim for itself.
    await api.sql(
      `insert into triggerfs.services (team_id, name, visibility, owner_id) select $1, 'private', 'local', id from triggerfs.users where identity = 'member-a'`,
      [team],
    );
    await client.query(`set app.restoring = 'on'`);
    for (const service of ['private', 'a/private', 'theirs', 'b/theirs']) {
      await assert.rejects(
        client.query(`insert into triggerfs.schedules (name, every, service, plugin) values ('x', '1 h', $1, 'command/command')`, [
          service,
        ]),
        /does not exist|offers no public/,
      );
    }
    await client.query(`update triggerfs.schedules set paused_until = now() + interval '1 h' where name = 'from-app'`);
    assert.ok(Number((await client.query('select from triggerfs.schedules')).rowCount) > 1);
    await assert.rejects(client.query('select from triggerfs.schedules_secret'), /does not exist/);
    await client.query('select * from triggerfs.schedule_fires limit 1');
    await assert.rejects(client.query('delete from triggerfs.schedule_fires'), /permission denied/);
    await assert.rejects(client.query('select triggerfs.heal_schedules()'), /permission denied/);
    assert.equal((await client.query(`delete from triggerfs.schedules where name = 'from-app'`)).rowCount, 1);
  });

  test('a time that only PostgreSQL knows is refused, and one that came about all the same keeps no other schedule from being planned', async () => {
    for (const column of ['run_at', 'paused_until']) {
      for (const time of ['infinity', '-infinity', '290000-01-01', '4000-01-01 BC']) {
        await assert.rejects(insert({ [column]: time }), new RegExp(`schedules_${column}`), `${column} ${time}`);
      }
    }
    const [bad, good] = [await insert({ every: '1 h' }), await insert({ every: '1 h' })];
    await Promise.all([planned(bad), planned(good)]);
    await api.sql(
      `update triggerfs.schedules set version = version + 1, next_run_at = null, last_due_at = case when id = $1 then '290000-01-01'::timestamptz end
       where id in ($1, $2)`,
      [bad, good],
    );
    await planned(good);
    await until(async () => /its last slot is not between/.test(String((await row(bad)).error)), { what: 'the bad one says why' });
    await api.sql('delete from triggerfs.schedules where id in ($1, $2)', [bad, good]);
    for (const pausedUntil of ['9999-12-31T23:59:59-23:59', '0001-01-01T00:00:00+23:59']) {
      const { status } = await api.call('POST /v1/schedules', { token, body: { name: 'far', everyMs: 1000, pausedUntil } });
      assert.equal(status, 400, pausedUntil);
    }
  });

  test('a service of one’s own goes by one name', async () => {
    const id = await insert({ every: '1 h', service: 'A/demo' });
    assert.equal((await row(id)).service, 'demo');
    await api.sql('delete from triggerfs.schedules where id = $1', [id]);
  });

  test('a lost job is put back, and thousands of rows are planned at once', async () => {
    const [made] = await api.sql<{ ids: number[] }>(
      `with made as (insert into triggerfs.schedules (team_id, name, cron, service, plugin)
         select $1, 'many' || n, '@hourly', 'demo', 'command/command' from generate_series(1, 3000) n returning id)
       select array_agg(id) as ids from made`,
      [team],
    );
    const ids = made?.ids ?? [];
    const waiting = (): Promise<unknown[]> => api.sql('select from triggerfs.schedules where id = any($1) and next_run_at is null', [ids]);
    await until(async () => (await waiting()).length === 0, { what: 'all are planned', timeoutMs: 20_000 });
    const id = await insert({ run_at: new Date(Date.now() + 60_000) });
    await planned(id);
    assert.deepEqual(await jobs(id), [{ task_identifier: 'schedule.fire' }]);
    await api.sql(`select graphile_worker.remove_job('schedule:' || $1::integer)`, [id]);
    assert.deepEqual(await jobs(id), []);
    await api.sql('select triggerfs.heal_schedules()');
    assert.deepEqual(await jobs(id), [{ task_identifier: 'schedule.fire' }]);
    const view = (await call(`GET /v1/schedules/${id}`)).body as unknown as ScheduleView;
    assert.equal(view.state, 'active');
    await api.sql(`delete from triggerfs.schedules where name like 'many%'`);
  });

  test('newer rules of time zones have next runs computed again, older ones nothing', async () => {
    const id = await insert({ cron: '0 3 * * *', timezone: 'America/New_York' });
    const next = await planned(id);
    const version = (await row(id)).version as number;
    await api.sql(`select triggerfs.adopt_zones('1999a')`);
    assert.equal((await row(id)).version, version);
    await api.sql(`select triggerfs.adopt_zones('9999z')`);
    assert.equal((await row(id)).version, version + 1);
    assert.deepEqual(await planned(id), next);
  });

  test('the measurements show fires and lateness', async () => {
    const text = String((await api.call('GET /metrics')).body.text);
    assert.match(text, /triggerfs_schedule_fires_total\{outcome="fired"\} \d+/);
    assert.match(text, /triggerfs_schedule_lateness_seconds_bucket\{le="0.3"\} \d+/);
    assert.match(text, /triggerfs_schedules_overdue \d+/);
  });
});
