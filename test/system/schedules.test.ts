import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import pg from 'pg';
import type { FirePage, ScheduleView } from '../../protocol/http/schedule.ts';
import { suiteCleanup } from '../control-plane/fixture.ts';
import { System } from '../support/system.ts';
import { until } from '../support/wait.ts';

interface Item {
  readonly id: string;
  readonly state: string;
  readonly started_at: Date;
  readonly ended_at: Date;
}

suite('schedules in a whole system', () => {
  const cleanup = suiteCleanup();
  let system: System;
  let database: pg.Client;

  async function start(): Promise<void> {
    system = await System.start(cleanup, { mount: false });
    database = new pg.Client({ connectionString: system.ready.database });
    // The server ends the database before the hooks of this test.
    database.on('error', () => undefined);
    await database.connect();
    cleanup.after(() => database.end());
  }

  async function items(name: string): Promise<Item[]> {
    const sql = `select q.id, q.state, q.started_at, q.ended_at from triggerfs.queue_items q
      join triggerfs.schedules s on s.id = q.schedule_id where s.name = $1 order by q.accepted_at, q.id`;
    return (await database.query<Item>(sql, [name])).rows;
  }

  test('what SQL commits fires on time, runs on a worker, and its output is kept; what it rolls back does nothing', async () => {
    await start();
    await database.query('begin');
    await database.query(
      `insert into triggerfs.schedules (name, every, trigger, payload) values ('undone', '1 s', '/demo/command', 'echo undone')`,
    );
    await database.query('rollback');
    await database.query(
      `insert into triggerfs.schedules (name, run_at, trigger, payload) values ('greeting', now() + interval '2 s', '/demo/command', 'echo good morning')`,
    );
    const done = await until(async () => (await items('greeting')).find(({ state }) => state === 'done'), {
      what: 'it has run',
      timeoutMs: 20_000,
    });
    const { items: fires } = await system.api<FirePage>('GET', '/v1/schedules/greeting/fires');
    assert.equal(fires.length, 1);
    assert.deepEqual([fires[0]?.outcome, fires[0]?.invocationId], ['fired', done.id]);
    assert.ok((fires[0]?.latenessMs ?? 0) < 1_000, `late by ${fires[0]?.latenessMs} ms`);
    const view = await system.api<ScheduleView>('GET', '/v1/schedules/greeting');
    assert.deepEqual([view.state, view.lastOutcome, view.lastInvocation], ['finished', 'fired', done.id]);
    const output = async (): Promise<string> => {
      const response = await fetch(new URL(`/v1/history/${done.id}/output`, system.ready.api), {
        headers: { authorization: `Bearer ${system.login.apiToken}` },
      });
      return response.status === 200 ? response.text() : '';
    };
    await until(async () => (await output()).includes('good morning'), { what: 'its output is in the history' });
    const kept = await system.api<{ source: string }>('GET', `/v1/history/${done.id}`);
    assert.equal(kept.source, 'schedule');
    assert.deepEqual((await database.query(`select from triggerfs.schedules where name = 'undone'`)).rows, []);
    assert.deepEqual(await items('undone'), []);
  });

  test('a job of 2.5 s every second, under each overlap policy', async () => {
    for (const overlap of ['skip', 'queue', 'allow']) {
      await database.query(
        `insert into triggerfs.schedules (name, every, trigger, payload, overlap) values ($1, '1 s', '/demo/command', 'sleep 2.5', $1)`,
        [overlap],
      );
    }
    const ended = async (name: string): Promise<Item[]> => (await items(name)).filter(({ state }) => state === 'done');
    await until(async () => (await ended('skip')).length >= 2 && (await ended('queue')).length >= 3, {
      what: 'runs end',
      timeoutMs: 25_000,
    });
    await database.query(`update triggerfs.schedules set enabled = false where name in ('skip', 'queue', 'allow')`);
    const outcomes = async (name: string): Promise<string[]> =>
      (await system.api<FirePage>('GET', `/v1/schedules/${name}/fires`)).items.map(({ outcome }) => outcome).reverse();
    assert.match((await outcomes('skip')).join(' '), /^fired skipped skipped fired/);
    assert.match((await outcomes('queue')).join(' '), /^fired fired skipped/);
    assert.ok((await outcomes('allow')).every((outcome) => outcome === 'fired'));
    const overlaps = (runs: readonly Item[]): boolean =>
      runs.some((run, index) => index > 0 && run.started_at < (runs[index - 1] as Item).ended_at);
    for (const name of ['skip', 'queue']) assert.ok(!overlaps(await ended(name)), `${name}: one at a time`);
    await until(async () => (await ended('allow')).length >= 2, { what: 'runs beside each other end' });
    assert.ok(overlaps(await ended('allow')));
  });

  test('run now, and a control-plane that is killed: its schedules go on', async () => {
    const { id } = await system.api<{ id: string }>('POST', '/v1/schedules/greeting/run');
    await until(async () => (await items('greeting')).some((item) => item.id === id && item.state === 'done'), { what: 'it has run' });
    await database.query(
      `insert into triggerfs.schedules (name, every, trigger, payload, overlap, catchup) values ('steady', '1 s', '/demo/command', 'true', 'allow', 'all')`,
    );
    await until(async () => (await items('steady')).length >= 2, { what: 'it fires' });
    await system.killPart('control-plane');
    const killed = new Date();
    const after = `select count(*)::integer as n from triggerfs.schedule_fires f join triggerfs.schedules s on s.id = f.schedule_id
      where s.name = 'steady' and f.due_at > $1`;
    await until(async () => (await database.query<{ n: number }>(after, [killed])).rows[0]?.n !== 0, {
      what: 'it goes on',
      timeoutMs: 30_000,
    });
    await database.query(`update triggerfs.schedules set enabled = false where name = 'steady'`);
    const holes = await database.query(
      `select f.due_at - lag(f.due_at) over (order by f.due_at) as gap, f.outcome from triggerfs.schedule_fires f
       join triggerfs.schedules s on s.id = f.schedule_id where s.name = 'steady' order by f.due_at`,
    );
    assert.ok(
      holes.rows.slice(1).every(({ gap }) => gap.seconds === 1 && Object.keys(gap).length === 1),
      JSON.stringify(holes.rows),
    );
    assert.ok(
      holes.rows.every(({ outcome }) => outcome !== 'missed'),
      'all are made good',
    );
  });
});
