import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { type BenchReport, compare } from '../report/comparison.ts';
import { quantile } from '../report/statistics.ts';
import { MAIN_REGION } from '../stage/platform.ts';
import { until } from '../stage/wait.ts';
import type { Bench, BenchContext } from './bench.ts';

const CONTROL_PLANES = 3;
/** 10,000 in a minute. */
const PER_SECOND = 10_000 / 60;
/** A round of the benchmarks has three seconds by default; this one has a minute then. */
const STRETCH = 20;
/** Time for planning, before the first slot. */
const LEAD_MS = 15_000;
/** Slots come to a control-plane six seconds ahead; those that the killed one had wait for the patience and the sweep of another. */
const KILL_WINDOW_MS = 7_000;
const SETTLED_MS = 60_000;

interface FireRow {
  readonly lateness: number;
  /** Due after the kill and before others have taken over. */
  readonly hit: boolean;
}

/** 10,000 schedules due over a minute, three control-planes, one of them killed in the middle. */
export const schedules: Bench = {
  name: 'schedules',
  doc: '10,000 schedules due over a minute, three control-planes, SIGKILL of one in the middle: lateness',
  async run({ stage, platform }: BenchContext): Promise<BenchReport> {
    const started = await platform();
    const spanMs = stage.settings.seconds * STRETCH * 1_000;
    const count = Math.round((spanMs / 1_000) * PER_SECOND);
    const content = await started.team('schedules');
    const [login] = await content.service('schedules-service', ['schedules-worker']);
    if (login === undefined) throw new Error('no worker was made');
    await started.mainBroker();
    started.worker(content, login, MAIN_REGION, { concurrency: 64 });
    const others = [await started.controlPlane('control-plane-2'), await started.controlPlane('control-plane-3')];
    const database = new pg.Client({ connectionString: started.databaseUrl });
    await database.connect();
    stage.add('database of the schedules', () => database.end());
    const begin = Date.now() + LEAD_MS;
    stage.progress(`schedules: ${count} rows`);
    await database.query(
      `insert into triggerfs.schedules (team_id, name, run_at, service, plugin, payload)
       select t.id, 'bench' || n, $1::timestamptz + n * $2::float8 * interval '1 ms', 'schedules-service', 'echo', 'tick'
       from triggerfs.teams t, generate_series(1, $3) n where t.name = 'schedules'`,
      [new Date(begin), spanMs / count, count],
    );
    const victim = others[0];
    stage.progress(`schedules: ${count} slots in ${spanMs / 1_000} s`);
    await sleep(begin + spanMs / 2 - Date.now());
    const killedAt = new Date();
    victim?.kill();
    await sleep(begin + spanMs - Date.now());
    const left = async (sql: string): Promise<number> => Number((await database.query(sql)).rows[0].n);
    await until('the last slots', async () => (await left(LEFT)) === 0, SETTLED_MS);
    await until('the last runs', async () => (await left(OPEN)) === 0, SETTLED_MS);
    const { rows } = await database.query<FireRow>(FIRES, [killedAt, KILL_WINDOW_MS]);
    const [missing, duplicates, executed] = [await left(MISSING), await left(DUPLICATES), await left(EXECUTED)];
    await database.query(`delete from triggerfs.teams where name = 'schedules'`);
    return report(rows, { count, missing, duplicates, executed });
  },
};

const OURS = `triggerfs.schedules s where s.name like 'bench%'`;
const LEFT = `select count(*) as n from ${OURS} and s.next_run_at is not null`;
const OPEN = `select count(*) as n from triggerfs.queue_items q where q.schedule_id is not null and q.state in ('queued', 'running')`;
const FIRES = `select f.lateness_ms::float8 as lateness, s.run_at between $1::timestamptz - interval '1 s' and $1::timestamptz + $2 * interval '1 ms' as hit
  from triggerfs.schedule_fires f join triggerfs.schedules s on s.id = f.schedule_id where s.name like 'bench%' order by 1`;
/** Slots without a row, and rows without their item. */
const MISSING = `select count(*) as n from ${OURS} and not exists (
  select from triggerfs.schedule_fires f join triggerfs.queue_items q on q.id = f.invocation_id where f.schedule_id = s.id and f.due_at = s.run_at)`;
const DUPLICATES = `select count(*) as n from ${OURS} and (
  (select count(*) from triggerfs.queue_items q where q.schedule_id = s.id) > 1 or (select count(*) from triggerfs.schedule_fires f where f.schedule_id = s.id) > 1)`;
const EXECUTED = `select count(*) as n from triggerfs.queue_items q join triggerfs.schedules s on s.id = q.schedule_id
  where s.name like 'bench%' and q.state = 'done'`;

function report(
  rows: readonly FireRow[],
  { count, missing, duplicates, executed }: { count: number; missing: number; duplicates: number; executed: number },
): BenchReport {
  const clear = rows.filter(({ hit }) => !hit).map(({ lateness }) => lateness);
  const hit = rows.filter((row) => row.hit).map(({ lateness }) => lateness);
  const what = `${count} schedules, ${CONTROL_PLANES} control-planes`;
  const limit = (most: number) => ({ direction: 'at most', limit: most, of: 'figure' }) as const;
  return {
    comparisons: [
      compare(`${what}: lateness p50`, 'milliseconds', [quantile(clear, 0.5)], null, null),
      compare(`${what}: lateness p99`, 'milliseconds', [quantile(clear, 0.99)], null, limit(300)),
      compare(`${what}: lateness max`, 'milliseconds', [clear.at(-1) ?? 0], null, null),
      compare('in the seconds after the kill: lateness max', 'milliseconds', [hit.at(-1) ?? 0], null, null),
      compare('slots that ran twice', 'count', [duplicates], null, limit(0)),
      compare('slots without a row or an invocation', 'count', [missing], null, limit(0)),
    ],
    skipped: [],
    notes: [
      `schedules: ${executed} of ${count} invocations were executed well; ${hit.length} slots were due within ${KILL_WINDOW_MS / 1_000} s of the kill`,
    ],
  };
}
