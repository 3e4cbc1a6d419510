import assert from 'node:assert/strict';
import { before, suite, test } from 'node:test';
import pg from 'pg';
import { Registry } from 'prom-client';
import { Database } from '../../control-plane/database.ts';
import { Firing } from '../../control-plane/schedules/firing.ts';
import { ScheduleMetrics } from '../../control-plane/schedules/metrics.ts';
import { Planner } from '../../control-plane/schedules/planner.ts';
import { Timekeeper } from '../../control-plane/schedules/timekeeper.ts';
import { silentLogger } from '../../runtime/logging.ts';
import { createPool } from '../../runtime/postgres/pool.ts';
import { FakeClock } from '../support/fake-clock.ts';
import { createDatabase } from '../support/postgres.ts';
import { until } from '../support/wait.ts';
import { suiteCleanup } from './fixture.ts';

/** A schedule on a clock of its own, with the database as it is. */
class Run {
  readonly clock: FakeClock;
  readonly keeper: Timekeeper;
  readonly #client: pg.Client;
  readonly #id: number;

  constructor(client: pg.Client, pool: pg.Pool, id: number, start: string) {
    this.#client = client;
    this.#id = id;
    this.clock = new FakeClock(start);
    const [database, log] = [new Database(pool), silentLogger()];
    const firing = new Firing(database, this.clock, log);
    const metrics = new ScheduleMetrics(new Registry());
    this.keeper = new Timekeeper({ clock: this.clock, planner: new Planner(database), firing, metrics, log, onFired: () => undefined });
  }

  async next(): Promise<number | null> {
    const { rows } = await this.#client.query<{ at: Date | null }>('select next_run_at as at from triggerfs.schedules where id = $1', [
      this.#id,
    ]);
    return rows[0]?.at?.getTime() ?? null;
  }

  /** Turns the clock to a time, as control-planes live through it: each slot is taken up shortly before it is due. */
  async live(end: number, meanwhile: () => Promise<void> = async () => undefined): Promise<void> {
    while (this.clock.now() < end) {
      const next = await this.next();
      const step = next === null ? end : Math.min(end, Math.max(next, this.clock.now() + 1));
      if (next !== null && next > this.clock.now() + 5_000) this.clock.advance(Math.min(next - 5_000, end) - this.clock.now());
      await this.keeper.hold([this.#id]);
      await this.turn(step);
      await meanwhile();
    }
  }

  /** Turns the clock to a time and waits until what is due then has fired. */
  async turn(time: number): Promise<void> {
    this.clock.advance(Math.max(0, time - this.clock.now()) + 10);
    await until(async () => ((await this.next()) ?? Number.POSITIVE_INFINITY) > this.clock.now(), { what: 'it fires' });
  }

  async fires(): Promise<string[]> {
    const { rows } = await this.#client.query<{ due_at: Date; outcome: string }>(
      'select due_at, outcome from triggerfs.schedule_fires where schedule_id = $1 order by due_at',
      [this.#id],
    );
    return rows.map(({ due_at, outcome }) => `${due_at.toISOString().replace('.000Z', 'Z')} ${outcome}`);
  }
}

suite('timekeeper on a fake clock', () => {
  const cleanup = suiteCleanup();
  let client: pg.Client;
  let pool: pg.Pool;
  let count = 0;

  before(async () => {
    const url = await createDatabase(cleanup);
    client = new pg.Client({ connectionString: url });
    await client.connect();
    cleanup.after(() => client.end());
    pool = createPool({ url, role: 'triggerfs_jobs', max: 2, name: 'test', log: silentLogger() });
    cleanup.after(() => pool.end());
    await client.query(
      `insert into triggerfs.teams (name) values ('a'); insert into triggerfs.services (team_id, name) select id, 'demo' from triggerfs.teams`,
    );
  });

  /** A planned schedule that was made at the start of its clock. */
  async function start(time: string, columns: Record<string, unknown>): Promise<{ run: Run; id: number }> {
    const row = { name: `s${++count}`, service: 'demo', plugin: 'echo', ...columns };
    const names = Object.keys(row);
    const values = names.map((_, index) => `$${index + 1}`);
    const sql = `insert into triggerfs.schedules (${names.join(', ')}) values (${values.join(', ')}) returning id`;
    const id = (await client.query<{ id: number }>(sql, Object.values(row))).rows[0]?.id as number;
    await client.query('update triggerfs.schedules set planned_from = $2 where id = $1', [id, time]);
    const run = new Run(client, pool, id, time);
    cleanup.after(() => run.keeper.stop());
    await run.keeper.plan([id]);
    return { run, id };
  }

  for (const [overlap, expected] of [
    ['skip', 'fired skipped skipped fired skipped skipped fired skipped skipped'],
    // 10-35, 35-60 and so on: the slot of second 60 comes just before the second run ends.
    ['queue', 'fired fired skipped fired skipped skipped fired skipped fired'],
    ['allow', 'fired fired fired fired fired fired fired fired fired'],
  ] as const) {
    test(`runs of 25 s every 10 s, overlap ${overlap}`, async () => {
      const { run, id } = await start('2026-05-01T10:00:00Z', { every: '10 s', overlap });
      const ends = new Map<string, number>();
      // What the queue does: items that share a key run one after another.
      const work = async (): Promise<void> => {
        const items = `select id, state from triggerfs.queue_items where schedule_id = $1 and state in ('queued', 'running') order by accepted_at, id`;
        for (const [item, end] of ends) {
          if (end > run.clock.now()) continue;
          await client.query(`update triggerfs.queue_items set state = 'done', ended_at = now() where id = $1`, [item]);
          ends.delete(item);
        }
        for (const { id: item, state } of (await client.query<{ id: string; state: string }>(items, [id])).rows) {
          if (state === 'running' || (overlap !== 'allow' && ends.size > 0)) continue;
          await client.query(`update triggerfs.queue_items set state = 'running' where id = $1`, [item]);
          ends.set(item, run.clock.now() + 25_000);
        }
      };
      const from = run.clock.now();
      for (let second = 1; second <= 90; second += 1) {
        await run.keeper.hold([id]);
        await run.turn(from + second * 1_000 - 10);
        await work();
        const { rows } = await client.query(
          `select count(*)::integer as n from triggerfs.queue_items where schedule_id = $1 and state = 'queued'`,
          [id],
        );
        assert.ok(rows[0].n <= (overlap === 'queue' ? 1 : 0), 'at most one waits');
      }
      assert.equal((await run.fires()).map((fire) => fire.split(' ')[1]).join(' '), expected);
    });
  }

  test('daylight saving time in New York', async () => {
    const spring = await start('2026-03-06T12:00:00Z', { cron: '30 2 * * *', timezone: 'America/New_York' });
    await spring.run.live(Date.parse('2026-03-09T12:00:00Z'), () => done(spring.id));
    assert.deepEqual(await spring.run.fires(), ['2026-03-07T07:30:00Z fired', '2026-03-08T07:00:00Z fired', '2026-03-09T06:30:00Z fired']);
    const autumn = await start('2026-11-01T04:45:00Z', { cron: '*/30 1 * * *', timezone: 'America/New_York' });
    await autumn.run.live(Date.parse('2026-11-01T08:00:00Z'), () => done(autumn.id));
    assert.deepEqual(await autumn.run.fires(), [
      '2026-11-01T05:00:00Z fired',
      '2026-11-01T05:30:00Z fired',
      '2026-11-01T06:00:00Z fired',
      '2026-11-01T06:30:00Z fired',
    ]);
  });

  test('daylight saving time in São Paulo', async () => {
    const spring = await start('2018-11-02T12:00:00Z', { cron: '0 0 * * *', timezone: 'America/Sao_Paulo' });
    await spring.run.live(Date.parse('2018-11-05T12:00:00Z'), () => done(spring.id));
    assert.deepEqual(await spring.run.fires(), ['2018-11-03T03:00:00Z fired', '2018-11-04T03:00:00Z fired', '2018-11-05T02:00:00Z fired']);
    const autumn = await start('2018-02-17T12:00:00Z', { cron: '30 23 * * *', timezone: 'America/Sao_Paulo' });
    await autumn.run.live(Date.parse('2018-02-19T12:00:00Z'), () => done(autumn.id));
    assert.deepEqual(await autumn.run.fires(), ['2018-02-18T01:30:00Z fired', '2018-02-19T02:30:00Z fired']);
  });

  for (const [catchup, expected] of [
    ['skip', ['10:01 missed', '10:02 missed', '10:03 missed', '10:04 missed', '10:05 missed', '10:06 fired']],
    ['one', ['10:01 missed', '10:02 missed', '10:03 missed', '10:04 missed', '10:05 caught-up', '10:06 fired']],
    ['all', ['10:01 caught-up', '10:02 caught-up', '10:03 caught-up', '10:04 caught-up', '10:05 caught-up', '10:06 fired']],
  ] as const) {
    test(`five missed slots, catch-up ${catchup}`, async () => {
      const { run, id } = await start('2026-05-01T10:00:00Z', { cron: '* * * * *', catchup });
      // Nobody keeps time for more than five minutes.
      run.clock.advance(5 * 60_000 + 45_000);
      await run.keeper.hold([id]);
      await run.turn(run.clock.now());
      await done(id);
      await run.live(Date.parse('2026-05-01T10:06:00Z'));
      assert.deepEqual(
        (await run.fires()).map((fire) => fire.replace(/^.*T(\d\d:\d\d):00Z/, '$1')),
        expected,
      );
      const { rows } = await client.query(
        `select f.due_at from triggerfs.schedule_fires f join triggerfs.queue_items q on q.id = f.invocation_id where f.schedule_id = $1 order by q.due_at, q.id`,
        [id],
      );
      const order = rows.map(({ due_at }) => due_at.getTime());
      assert.deepEqual(order, order.toSorted(), 'in the order of the slots');
      assert.equal(order.length, expected.filter((text) => !text.endsWith('missed')).length);
    });
  }

  test('two keepers of the same slot fire it once', async () => {
    const { run, id } = await start('2026-05-01T10:00:00Z', { every: '10 s', overlap: 'allow' });
    const other = new Run(client, pool, id, '2026-05-01T10:00:00Z');
    cleanup.after(() => other.keeper.stop());
    for (let slot = 1; slot <= 20; slot += 1) {
      await Promise.all([run.keeper.hold([id]), other.keeper.hold([id])]);
      await Promise.all([run, other].map((keeper) => keeper.turn(Date.parse('2026-05-01T10:00:00Z') + slot * 10_000)));
    }
    assert.equal((await run.fires()).length, 20);
    assert.ok((await run.fires()).every((fire) => fire.endsWith('fired')));
    const { rows } = await client.query('select count(*)::integer as n from triggerfs.queue_items where schedule_id = $1', [id]);
    assert.equal(rows[0].n, 20);
  });

  test('jitter is the same each time, within its bounds, and no part of the slot', async () => {
    const { run, id } = await start('2026-05-01T10:00:00Z', { cron: '* * * * *', jitter: '20 s' });
    const sql = `select (extract(epoch from triggerfs.schedule_offset(id, jitter)) * 1000)::integer as ms from triggerfs.schedules where id = $1`;
    const offset = (await client.query<{ ms: number }>(sql, [id])).rows[0]?.ms as number;
    assert.ok(offset >= 0 && offset <= 20_000);
    const due = Date.parse('2026-05-01T10:01:00Z');
    run.clock.advance(due + offset - 20 - run.clock.now());
    await run.keeper.hold([id]);
    assert.deepEqual(await run.fires(), []);
    run.clock.advance(40);
    await until(async () => (await run.fires()).length === 1, { what: 'it fires' });
    assert.deepEqual(await run.fires(), ['2026-05-01T10:01:00Z fired']);
    const { rows } = await client.query<{ ms: number }>(
      `select (extract(epoch from triggerfs.schedule_offset(n, interval '20 s')) * 1000)::integer as ms from generate_series(1, 2000) n`,
    );
    const thirds = [0, 0, 0];
    for (const { ms } of rows) thirds[Math.min(2, Math.floor(ms / 6_667))] = (thirds[Math.min(2, Math.floor(ms / 6_667))] ?? 0) + 1;
    assert.ok(
      thirds.every((share) => share > 550),
      `spread evenly: ${thirds}`,
    );
  });

  test('one schedule that cannot fire keeps no others from it', async () => {
    const good = await start('2026-05-01T10:00:00Z', { every: '10 s', overlap: 'allow' });
    const bad = await start('2026-05-01T10:00:00Z', { every: '10 s', overlap: 'allow' });
    await client.query(
      `create function public.refuse() returns trigger language plpgsql as $$ begin
         if new.schedule_id = ${bad.id} then raise exception 'not this one'; end if; return new; end $$;
       create trigger refuse before insert on triggerfs.schedule_fires for each row execute function public.refuse()`,
    );
    await good.run.keeper.hold([good.id, bad.id]);
    good.run.clock.advance(10_010);
    await until(async () => (await good.run.fires()).length === 1, { what: 'the good one fires' });
    const error = async (): Promise<unknown> =>
      (await client.query('select error from triggerfs.schedules where id = $1', [bad.id])).rows[0].error;
    await until(async () => (await error()) !== null, { what: 'the bad one says why' });
    assert.equal(await error(), 'it could not fire: not this one');
    await client.query('drop trigger refuse on triggerfs.schedule_fires');
  });

  async function done(id: number): Promise<void> {
    await client.query(`update triggerfs.queue_items set state = 'done', ended_at = now() where schedule_id = $1 and state = 'queued'`, [
      id,
    ]);
  }
});
