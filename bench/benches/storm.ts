import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { type BenchReport, compare } from '../report/comparison.ts';
import { quantile } from '../report/statistics.ts';
import { MAIN_REGION } from '../stage/platform.ts';
import { cpuSeconds } from '../stage/processes.ts';
import { until } from '../stage/wait.ts';
import type { Bench, BenchContext } from './bench.ts';

const COUNT = 10_000;
/** Time for planning them all, before the instant. */
const LEAD_MS = 30_000;
const SETTLED_MS = 120_000;

/** 10,000 schedules due at the same instant, one control-plane, a worker that runs what they fire. */
export const storm: Bench = {
  name: 'storm',
  doc: '10,000 schedules due at the same instant, one control-plane: lateness',
  async run({ stage, platform }: BenchContext): Promise<BenchReport> {
    const started = await platform();
    const content = await started.team('storm');
    const [login] = await content.service('storm-service', ['storm-worker']);
    if (login === undefined) throw new Error('no worker was made');
    await started.mainBroker();
    started.worker(content, login, MAIN_REGION, { concurrency: 64 });
    const database = new pg.Client({ connectionString: started.databaseUrl });
    await database.connect();
    stage.add('database of the storm', () => database.end());
    const count = async (sql: string): Promise<number> => Number((await database.query<{ n: string }>(sql)).rows[0]?.n);
    const instant = Date.now() + LEAD_MS;
    stage.progress(`storm: ${COUNT} rows`);
    await database.query(INSERT, [new Date(instant), COUNT]);
    await sleep(instant - 1_000 - Date.now());
    const planned = await count(`select count(*) as n from ${OURS} and s.next_run_at is not null`);
    stage.progress(`storm: ${planned} of ${COUNT} are planned`);
    const cpu = cpuSeconds(started.controlPlaneProcess.pid);
    await sleep(instant - Date.now());
    await until(
      'the last slots',
      async () => (await count(`select count(*) as n from ${OURS} and s.next_run_at is not null`)) === 0,
      SETTLED_MS,
    );
    const fired = cpuSeconds(started.controlPlaneProcess.pid) - cpu;
    stage.progress('storm: the last runs');
    await until('the last runs', async () => (await count(OPEN)) === 0, SETTLED_MS);
    const ranMs = Date.now() - instant;
    const { rows } = await database.query<{ lateness: number; outcome: string }>(LATENESS);
    const outcomes = Object.entries(Object.groupBy(rows, ({ outcome }) => outcome)).map(([name, some]) => `${some?.length} ${name}`);
    const missing = await count(MISSING);
    await database.query(`delete from triggerfs.teams where name = 'storm'`);
    const lateness = rows.map((row) => row.lateness);
    const what = `${COUNT} schedules at one instant`;
    return {
      comparisons: [
        compare(`${what}: lateness p50`, 'milliseconds', [quantile(lateness, 0.5)], null, null),
        compare(`${what}: lateness p99`, 'milliseconds', [quantile(lateness, 0.99)], null, {
          direction: 'at most',
          limit: 2_000,
          of: 'figure',
        }),
        compare(`${what}: without a row or an invocation`, 'count', [missing], null, { direction: 'at most', limit: 0, of: 'figure' }),
      ],
      skipped: [],
      notes: [
        `storm: ${planned} of ${COUNT} were planned a second before; ${outcomes.join(', ')}; CPU of the control-plane until the last had fired ${((fired * 1e6) / COUNT).toFixed(0)} µs each; all had run ${(ranMs / 1_000).toFixed(1)} s after the instant`,
      ],
    };
  },
};

const OURS = `triggerfs.schedules s where s.name like 'storm%'`;
const INSERT = `insert into triggerfs.schedules (team_id, name, run_at, service, plugin, payload)
  select t.id, 'storm' || n, $1, 'storm-service', 'echo', 'tick' from triggerfs.teams t, generate_series(1, $2) n where t.name = 'storm'`;
const OPEN = `select count(*) as n from triggerfs.queue_items q where q.schedule_id is not null and q.state in ('queued', 'running')`;
const LATENESS = `select f.lateness_ms::float8 as lateness, f.outcome from triggerfs.schedule_fires f join triggerfs.schedules s on s.id = f.schedule_id
  where s.name like 'storm%' order by 1`;
const MISSING = `select count(*) as n from ${OURS} and not exists (
  select from triggerfs.schedule_fires f join triggerfs.queue_items q on q.id = f.invocation_id where f.schedule_id = s.id)`;
