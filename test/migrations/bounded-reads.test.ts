import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { type TestContext, test } from 'node:test';
import pg from 'pg';
import { lastFirst } from '../support/last-first.ts';
import { createDatabase } from '../support/postgres.ts';

const MANY = 20_000;
const FEW = 200;

/** A database with one team, and what functions read of its tables. */
class Reader {
  readonly sql: pg.Client;
  readonly team: number;

  private constructor(sql: pg.Client, team: number) {
    this.sql = sql;
    this.team = team;
  }

  static async open(t: TestContext): Promise<Reader> {
    const last = lastFirst(t);
    const sql = new pg.Client({ connectionString: await createDatabase(last) });
    await sql.connect();
    last.after(() => sql.end());
    const { rows } = await sql.query<{ id: number }>(`insert into triggerfs.teams (name) values ('team') returning id`);
    return new Reader(sql, (rows[0] as { id: number }).id);
  }

  /** What a statement returns, and how many rows and index entries of a table it looks at. */
  async read<T extends pg.QueryResultRow>(table: string, sql: string, values: readonly unknown[]): Promise<{ rows: T[]; looks: number }> {
    await this.sql.query('begin');
    const before = await this.#looks(table);
    const { rows } = await this.sql.query<T>(sql, [...values]);
    const looks = (await this.#looks(table)) - before;
    await this.sql.query('commit');
    return { rows, looks };
  }

  async #looks(table: string): Promise<number> {
    const { rows } = await this.sql.query<{ looks: number }>(
      `select sum(pg_stat_get_xact_tuples_returned(c.oid))::integer as looks from pg_class c
       where c.oid = $1::regclass or c.oid in (select i.indexrelid from pg_index i where i.indrelid = $1::regclass)`,
      [`triggerfs.${table}`],
    );
    return rows[0]?.looks ?? 0;
  }
}

test('settling an item that held a key looks at the items that wait for this key alone', async (t) => {
  const reader = await Reader.open(t);
  const id = randomUUID();
  await reader.sql.query(
    `insert into triggerfs.queue_items (id, team_id, source, service, plugin, concurrency_key, due_at, expires_at, state, parked, attempt)
     select gen_random_uuid(), $1::integer, 'api', 'other', 'p', 'theirs' || n % 500, now(), now() + interval '1 h', 'queued', 1, 0 from generate_series(1, ${MANY}) n
     union all select $2, $1, 'api', 's', 'p', 'mine', now(), now() + interval '1 h', 'running', 0, 1
     union all select gen_random_uuid(), $1, 'api', 't', 'p', 'mine', now(), now() + interval '1 h', 'queued', 1, 0`,
    [reader.team, id],
  );
  await reader.sql.query('analyze triggerfs.queue_items');
  const outcome = { id, attempt: 1, state: 'done', verdict: 'ok' };
  const { rows, looks } = await reader.read('queue_items', `select state from triggerfs.queue_settle($1, array[null]::bytea[])`, [
    JSON.stringify([outcome]),
  ]);
  assert.deepEqual(rows, [{ state: 'done' }]);
  assert.ok(looks < FEW, `${looks} looks`);
  const released = await reader.sql.query(`select service from triggerfs.queue_items where parked = 2`);
  assert.deepEqual(released.rows, [{ service: 't' }]);
});

test('looking for letters that died since the last look does not look at those before', async (t) => {
  const reader = await Reader.open(t);
  await reader.sql.query(
    `insert into triggerfs.queue_items (id, team_id, source, service, plugin, due_at, expires_at, state, ended_at)
     select gen_random_uuid(), $1, 'api', 's', 'p', now(), now(), case n % 3 when 0 then 'dead' else 'done' end, now() - n * interval '20 s'
       from generate_series(4, ${MANY}) n`,
    [reader.team],
  );
  await reader.sql.query('analyze triggerfs.queue_items');
  const { looks } = await reader.read('queue_items', `select triggerfs.watch_losses(now() - interval '5 minutes', now())`, []);
  assert.ok(looks < FEW, `${looks} looks`);
  const { rows } = await reader.sql.query(`select kind, untold::integer as untold, told_at is not null as told from triggerfs.alerts`);
  assert.deepEqual(rows, [{ kind: 'dead-letter', untold: 0, told: true }]);
});

test('a worker that keeps a schedule is told its last fire without a look at those before', async (t) => {
  const reader = await Reader.open(t);
  const made = await reader.sql.query<{ id: number }>(
    `insert into triggerfs.workers (team_id, identity, token_hash) values ($1, 'w', sha256('w')) returning id`,
    [reader.team],
  );
  const worker = made.rows[0]?.id;
  await reader.sql.query(`insert into triggerfs.services (team_id, name) values ($1, 's')`, [reader.team]);
  await reader.sql.query(
    `insert into triggerfs.schedules (team_id, name, every, service, plugin, resident) values ($1, 'often', '1 s', 's', 'p', 'w')`,
    [reader.team],
  );
  const keep = [`select "from" as last, taken from triggerfs.keep_schedules($1, $2, '[]', true)`, [worker, randomUUID()]] as const;
  assert.equal((await reader.sql.query(keep[0], [...keep[1]])).rows[0]?.taken, false);
  // The newest one stands for a minute of missed slots.
  await reader.sql.query(
    `insert into triggerfs.schedule_fires (schedule_id, due_at, team_id, outcome, through_at, worker)
     select id, now() + n * interval '1 s', team_id, case n when ${MANY} then 'missed' else 'fired' end,
       case n when ${MANY} then now() + ${MANY + 60} * interval '1 s' end, 'w' from triggerfs.schedules, generate_series(1, ${MANY}) n`,
  );
  await reader.sql.query('analyze triggerfs.schedule_fires');
  const newest = await reader.sql.query<{ last: Date }>('select max(through_at) as last from triggerfs.schedule_fires');
  const { rows, looks } = await reader.read<{ last: Date; taken: boolean }>('schedule_fires', keep[0], keep[1]);
  assert.deepEqual(rows, [{ last: newest.rows[0]?.last, taken: true }]);
  assert.ok(looks < FEW, `${looks} looks`);
});
