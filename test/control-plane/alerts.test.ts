import assert from 'node:assert/strict';
import { before, beforeEach, suite, test } from 'node:test';
import { type Fixture, startFixture, suiteCleanup } from './fixture.ts';

suite('letters about troubles', () => {
  const cleanup = suiteCleanup();
  let api: Fixture;
  let team = 0;

  before(async () => {
    api = await startFixture(cleanup);
    team = (await api.sql<{ id: number }>(`select id from triggerfs.teams where name = 'a'`))[0]?.id ?? 0;
    await api.sql(`insert into triggerfs.services (team_id, name) values ($1, 'build'), ($1, 'mail')`, [team]);
    await api.sql(
      `insert into triggerfs.services (team_id, name, visibility, owner_id)
       select $1, 'mine', 'local', id from triggerfs.users where identity = 'member-a'`,
      [team],
    );
  });

  beforeEach(async () => {
    await api.sql('delete from triggerfs.alerts');
    await api.sql('delete from triggerfs.mails');
    await api.sql('delete from triggerfs.queue_items');
    await api.sql('delete from triggerfs.schedules');
    await api.sql('delete from triggerfs.invocations');
    await api.sql(`update triggerfs.alerts_progress set until = now() - interval '1 minute'`);
  });

  /** The control-plane's own watch may be at it in this moment; then the letters are its. */
  async function look(): Promise<number> {
    for (;;) {
      const [row] = await api.sql<{ free: boolean; letters: number }>(
        `select pg_try_advisory_xact_lock(7420318657) as free, triggerfs.watch_troubles() as letters`,
      );
      if (row?.free === true) return row.letters;
    }
  }

  async function letters(): Promise<string[]> {
    const rows = await api.sql<{ line: string }>(
      `select coalesce(t.name, u.identity) || ' ' || l.kind || ': ' || l.subject as line from triggerfs.mails l
       left join triggerfs.teams t on t.id = l.team_id left join triggerfs.users u on u.id = l.user_id order by l.id`,
    );
    return rows.map((row) => row.line);
  }

  /** Time passes. */
  async function pass(span: string): Promise<void> {
    await api.sql('update triggerfs.alerts set told_at = told_at - $1::interval, raised_at = raised_at - $1::interval', [span]);
  }

  async function item(service: string, state: string, ago: string): Promise<void> {
    await api.sql(
      `insert into triggerfs.queue_items (id, team_id, source, service, plugin, state, due_at, expires_at, ended_at, detail)
       select gen_random_uuid(), $1, 'api', $2, 'echo', $3, now() - $4::interval, now() + interval '1 day',
         case when $3 in ('dead', 'expired') then now() - $4::interval end, 'exit code 3'`,
      [team, service, state, ago],
    );
  }

  async function ran(service: string, verdict: string): Promise<void> {
    await api.sql(
      `insert into triggerfs.invocations (day, id, team_id, broker_id, service, plugin, algorithm, source, payload_bytes, timeout_ms,
         deadline_at, expected, accepted_at, taken_at, ended_at, verdict, exit_code)
       values ((now() at time zone 'UTC')::date, triggerfs.uuid_v7(), $1, gen_random_uuid(), $2, 'echo', 'roundrobin', 'client', 0, 1000,
         clock_timestamp(), 1, clock_timestamp(), clock_timestamp(), clock_timestamp(), $3, 3)`,
      [team, service, verdict],
    );
  }

  test('dead letters of a service share a letter, and the next comes after an hour with the number since', async () => {
    await item('build', 'dead', '10 s');
    await item('build', 'expired', '5 s');
    await item('mail', 'dead', '5 s');
    assert.equal(await look(), 2);
    assert.equal(await look(), 0, 'told once');
    await item('build', 'dead', '0 s');
    await api.sql(`update triggerfs.alerts_progress set until = now() - interval '3 s'`);
    await api.sql(`update triggerfs.queue_items set ended_at = now() - interval '2500 ms' where ended_at > now() - interval '2 s'`);
    assert.equal(await look(), 0, 'within the hour');
    await pass('1 hour');
    assert.equal(await look(), 1);
    assert.deepEqual((await letters()).sort(), [
      'a dead-letter: 2 accepted invocations of service build died',
      'a dead-letter: An accepted invocation of service build died',
      'a dead-letter: An accepted invocation of service mail died',
    ]);
  });

  test('what concerns a local service is told to its owner alone', async () => {
    await item('mine', 'dead', '10 s');
    assert.equal(await look(), 1);
    assert.deepEqual(await letters(), ['member-a dead-letter: An accepted invocation of service mine died']);
  });

  test('missed slots are told with the name of the schedule', async () => {
    await api.sql(
      `insert into triggerfs.schedules (team_id, name, every, service, plugin) values ($1, 'nightly', '1 hour', 'build', 'echo')`,
      [team],
    );
    await api.sql(
      `insert into triggerfs.schedule_fires (schedule_id, due_at, team_id, outcome, fired_at)
       select id, now() - n * interval '1 hour', team_id, 'missed', now() - interval '10 s' from triggerfs.schedules, generate_series(1, 3) n`,
    );
    assert.equal(await look(), 1);
    assert.deepEqual(await letters(), ['a missed: Schedule nightly missed 3 slots']);
  });

  test('five failures in a row are told, and so is the next success', async () => {
    for (let n = 0; n < 4; n += 1) await ran('build', 'failed');
    assert.equal(await look(), 0, 'four are not yet five');
    await ran('build', 'cancelled');
    assert.equal(await look(), 0, 'cancelled ones do not count');
    await ran('build', 'timeout');
    assert.equal(await look(), 1);
    await ran('build', 'failed');
    assert.equal(await look(), 0, 'it was told');
    await ran('build', 'ok');
    assert.equal(await look(), 1);
    assert.deepEqual(await letters(), ['a failures: Service build fails again and again', 'a failures: Service build works again']);
  });

  test('a queue that stands is told, and its end', async () => {
    await item('build', 'queued', '4 minutes');
    await item('mail', 'queued', '-1 hour');
    assert.equal(await look(), 0, 'nobody waits for five minutes yet');
    await item('build', 'queued', '6 minutes');
    assert.equal(await look(), 1);
    await api.sql(`update triggerfs.queue_items set state = 'running' where due_at < now() - interval '5 minutes'`);
    assert.equal(await look(), 0, 'one still waits for four minutes');
    await api.sql(`update triggerfs.queue_items set state = 'running' where due_at < now()`);
    assert.equal(await look(), 1);
    assert.deepEqual(await letters(), ['a queue: The queue of service build grows', 'a queue: The queue of service build is short again']);
  });

  test('history that goes within a day is told once in thirty days', async () => {
    await api.sql(`update triggerfs.teams set history_days = 1 where id = $1`, [team]);
    await ran('build', 'ok');
    assert.equal(await look(), 0);
    await api.sql(`update triggerfs.invocations set day = day - 1`);
    assert.equal(await look(), 1);
    await pass('2 days');
    assert.equal(await look(), 0);
    await pass('30 days');
    assert.equal(await look(), 1);
    assert.match((await letters())[0] ?? '', /^a retention: History of \d{4}-\d\d-\d\d is about to be dropped$/);
  });
});
