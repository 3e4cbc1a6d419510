import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { childEnvironment } from '../../runtime/environment.ts';
import { packageRoot } from '../../runtime/package-root.ts';
import { lastFirst } from '../support/last-first.ts';
import { masterKeySection } from '../support/master-key.ts';
import { createDatabase } from '../support/postgres.ts';
import { until } from '../support/wait.ts';

const BIN = join(packageRoot(), 'control-plane', 'bin.ts');

interface Fleet {
  readonly database: pg.Client;
  /** Running control-planes. */
  readonly processes: ChildProcess[];
}

/** Control-planes as real processes on one database with a team that has a service. */
async function startFleet(test: Pick<TestContext, 'after'>, size: number): Promise<Fleet> {
  const t = lastFirst(test);
  const databaseUrl = await createDatabase(t);
  const folder = mkdtempSync(join(tmpdir(), 'triggerfs-fleet-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const config = join(folder, 'triggerfs.toml');
  writeFileSync(config, masterKeySection());
  const database = new pg.Client({ connectionString: databaseUrl });
  await database.connect();
  t.after(() => database.end());
  await database.query(
    `insert into triggerfs.teams (name) values ('demo'); insert into triggerfs.services (team_id, name) select id, 'demo' from triggerfs.teams`,
  );
  const processes: ChildProcess[] = [];
  for (let index = 0; index < size; index += 1) {
    const args = [BIN, '-json', '--port', '0', '-config', config];
    const child = spawn(process.execPath, args, {
      env: childEnvironment({ DATABASE_URL: databaseUrl }),
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    const ended = once(child, 'close');
    t.after(async () => {
      child.kill('SIGKILL');
      await ended;
    });
    processes.push(child);
  }
  for (const { stdout } of processes) {
    assert.match(
      String(
        (
          await createInterface(stdout as NodeJS.ReadableStream)
            [Symbol.asyncIterator]()
            .next()
        ).value,
      ),
      /"event":"ready"/,
    );
  }
  return { database, processes };
}

async function number(database: pg.Client, sql: string): Promise<number> {
  return Number((await database.query(`select (${sql}) as n`)).rows[0].n);
}

test('three control-planes, one killed: each slot has one row and one invocation, and none is missing', async (t) => {
  const { database, processes } = await startFleet(t, 3);
  const start = Date.now() + 4_000;
  const span = 9_000;
  await database.query(
    `insert into triggerfs.schedules (name, run_at, service, plugin)
     select 'once' || n, $1::timestamptz + n * $2 * interval '1 ms', 'demo', 'command/command' from generate_series(1, 300) n`,
    [new Date(start), span / 300],
  );
  await database.query(
    `insert into triggerfs.schedules (name, every, overlap, catchup, service, plugin)
     select 'often' || n, '1 s', 'allow', 'all', 'demo', 'command/command' from generate_series(1, 60) n`,
  );
  await sleep(start + span / 2 - Date.now());
  processes[0]?.kill('SIGKILL');
  await until(
    async () =>
      (await number(database, `select count(*) from triggerfs.schedules where run_at is not null and next_run_at is not null`)) === 0,
    {
      what: 'all single times have passed',
      timeoutMs: 20_000,
    },
  );
  await database.query(`update triggerfs.schedules set enabled = false`);

  const once_ = await database.query<{ outcome: string; fires: string }>(
    `select f.outcome, count(*) as fires from triggerfs.schedules s left join triggerfs.schedule_fires f on f.schedule_id = s.id and f.due_at = s.run_at
     where s.run_at is not null group by 1`,
  );
  assert.ok(
    once_.rows.every(({ outcome }) => outcome === 'fired' || outcome === 'late'),
    JSON.stringify(once_.rows),
  );
  assert.equal(
    await number(
      database,
      `select count(*) from triggerfs.schedule_fires f join triggerfs.schedules s on s.id = f.schedule_id where s.run_at is not null`,
    ),
    300,
  );
  // Every second of every schedule from its first to its last has its row.
  const holes = await database.query(
    `select s.name, count(*) as rows, round(extract(epoch from max(f.due_at) - min(f.due_at))) + 1 as seconds
     from triggerfs.schedules s join triggerfs.schedule_fires f on f.schedule_id = s.id where s.every is not null
     group by s.name having count(*) <> round(extract(epoch from max(f.due_at) - min(f.due_at))) + 1`,
  );
  assert.deepEqual(holes.rows, []);
  // What ran is in the queue exactly once.
  assert.equal(
    await number(
      database,
      `select count(*) from triggerfs.schedule_fires f where f.outcome in ('fired', 'late', 'caught-up')
       and (f.invocation_id is null or not exists (select from triggerfs.queue_items q where q.id = f.invocation_id and q.schedule_id = f.schedule_id))`,
    ),
    0,
  );
  assert.equal(
    await number(
      database,
      `select count(*) from triggerfs.queue_items q where q.schedule_id is not null
       and (select count(*) from triggerfs.schedule_fires f where f.invocation_id = q.id) <> 1`,
    ),
    0,
  );
  assert.ok((await number(database, `select count(distinct schedule_id) from triggerfs.schedule_fires`)) === 360);
  // Those that were not waiting in the killed process were on time.
  assert.ok(
    (await number(database, `select percentile_cont(0.5) within group (order by lateness_ms) from triggerfs.schedule_fires`)) < 300,
  );
  assert.ok((await number(database, `select max(lateness_ms) from triggerfs.schedule_fires`)) < 15_000);
});

test('jobs that a killed control-plane has locked are free again within a minute', async (t) => {
  const { database, processes } = await startFleet(t, 2);
  const locked = `select count(*) from graphile_worker.jobs where locked_by = 'pool-of-the-dead'`;
  await until(async () => (await number(database, 'select count(*) from triggerfs.worker_pools')) >= 4, { what: 'all pools beat' });
  // Twenty jobs of a process that was killed with them 25 seconds ago: its pool beats no longer.
  const dead = 'pool-of-the-dead';
  await database.query(`select graphile_worker.add_job('sweep_fleet', run_at := now() + interval '1 h') from generate_series(1, 20)`);
  const lock = `update graphile_worker._private_jobs set locked_by = $1, locked_at = now() - interval '25 s' where run_at > now() + interval '30 min'`;
  await database.query(lock, [dead]);
  await database.query(`insert into triggerfs.worker_pools (pool_id, beat_at) values ($1, now() - interval '25 s')`, [dead]);
  assert.equal(await number(database, `select triggerfs.beat_worker_pools('{}', interval '30 s')`), 0, 'it may still be alive');
  assert.equal(await number(database, locked), 20);
  processes[0]?.kill('SIGKILL');
  await until(async () => (await number(database, locked)) === 0, { what: 'they are free', timeoutMs: 30_000 });
  assert.equal(await number(database, `select count(*) from triggerfs.worker_pools where pool_id = '${dead}'`), 0);
});
