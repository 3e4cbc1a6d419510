import assert from 'node:assert/strict';
import { before, suite, test } from 'node:test';
import type { Principal } from '../../control-plane/auth/principal.ts';
import { Database, type Transaction } from '../../control-plane/database.ts';
import { findInvocation, listHistory } from '../../control-plane/history/repository.ts';
import type { HistoryQuery } from '../../protocol/http/history.ts';
import { silentLogger } from '../../runtime/logging.ts';
import { createPool } from '../../runtime/postgres/pool.ts';
import { startFixture, suiteCleanup } from './fixture.ts';
import { HistoryWriter } from './history-fixture.ts';

const ROWS = 200_000;

interface Plan {
  readonly 'Node Type': string;
  readonly 'Relation Name'?: string;
  readonly 'Actual Rows': number;
  readonly 'Shared Hit Blocks': number;
  readonly 'Shared Read Blocks': number;
  readonly Plans?: readonly Plan[];
}

suite('the history with many rows', () => {
  const cleanup = suiteCleanup();
  let database: Database;
  let writer: HistoryWriter;
  let principal: Principal;

  before(async () => {
    const api = await startFixture(cleanup);
    writer = await HistoryWriter.open(cleanup, api.databaseUrl);
    const pool = createPool({ url: api.databaseUrl, role: 'triggerfs_app', max: 2, name: 'test', log: silentLogger() });
    cleanup.after(() => pool.end());
    database = new Database(pool);
    const [a, b] = [await writer.team('a'), await writer.team('b')];
    const [user] = await writer.sql<{ id: number }>(`select id from triggerfs.users where identity = 'member-a'`);
    principal = { teamId: a, id: user?.id ?? 0, role: 'member' } as Principal;
    // Most of a day up to now; every tenth row is another team's.
    await writer.sql(
      `insert into triggerfs.invocations (day, id, team_id, broker_id, service, plugin, algorithm, source, caller, payload_bytes, timeout_ms, deadline_at,
         expected, accepted_at, taken_at, ended_at, verdict, exit_code)
       select (at at time zone 'UTC')::date, overlay(gen_random_uuid()::text placing substr(lpad(to_hex((extract(epoch from at) * 1000)::bigint), 12, '0'), 1, 8)
           || '-' || substr(lpad(to_hex((extract(epoch from at) * 1000)::bigint), 12, '0'), 9) || '-7' from 1 for 15)::uuid,
         case when n % 10 = 0 then $2::integer else $1::integer end, gen_random_uuid(), 's' || n % 20, 'echo', 'roundrobin', 'client', 'u' || n % 7, 0, 1000, at, 1, at, at,
         case when n % 50000 <> 1 then at end, case when n % 50000 = 1 then null when n % 1000 = 3 then 'failed' else 'ok' end, 0
       from (select n, now() - n * interval '${(0.9 * 86_400) / ROWS} s' as at from generate_series(1, ${ROWS}) n) x`,
      [a, b],
    );
    await writer.sql(
      `insert into triggerfs.runs (day, invocation_id, team_id, worker_id, identity, attempt, accepted_at, verdict, started_at)
       select day, id, team_id, 1, 'w' || (hashtext(id::text) & 63), 1, accepted_at, verdict, accepted_at from triggerfs.invocations`,
    );
    // A larger sample, so that the plans do not depend on which rows were looked at.
    await writer.sql('set default_statistics_target = 1000; analyze triggerfs.invocations, triggerfs.runs');
  });

  /** Pages of 8 KiB that the statement of a search touches, and what it scans row by row. */
  async function explain(work: (tx: Transaction) => Promise<unknown>): Promise<{ pages: number; scanned: string[] }> {
    let plan: Plan | null = null;
    await database.inTeam(principal.teamId, async (tx) => {
      const rows: Transaction['rows'] = async (sql, values) => {
        if (/^select i\.id/.test(sql)) {
          const [row] = await tx.rows<{ 'QUERY PLAN': { Plan: Plan }[] }>(`explain (analyze, buffers, format json) ${sql}`, values);
          plan = row?.['QUERY PLAN'][0]?.Plan ?? null;
        }
        return tx.rows(sql, values);
      };
      await work({ ...tx, rows });
    });
    assert.ok(plan !== null);
    const top: Plan = plan;
    return { pages: top['Shared Hit Blocks'] + top['Shared Read Blocks'], scanned: scansOf(top) };
  }

  function scansOf(plan: Plan): string[] {
    const own = plan['Node Type'] === 'Seq Scan' && plan['Actual Rows'] > 0 ? [plan['Relation Name'] ?? ''] : [];
    return [...own.filter((name) => /^(invocations|runs)_/.test(name)), ...(plan.Plans ?? []).flatMap(scansOf)];
  }

  const list =
    (query: HistoryQuery) =>
    (tx: Transaction): Promise<unknown> =>
      listHistory(tx, principal, query);

  const cases: readonly [name: string, query: HistoryQuery, pages: number][] = [
    ['the newest', {}, 1_000],
    ['a service', { service: 's3' }, 1_000],
    ['a service that there is not', { service: 'none' }, 300],
    ['failures', { verdict: 'failed' }, 2_000],
    ['what runs', { verdict: 'running' }, 2_500],
    ['ten minutes', { since: '-600m', until: '-590m' }, 1_000],
    ['a worker', { worker: 'w5' }, 1_500],
    ['a worker that there is not', { worker: 'none' }, 500],
    ['a rare caller of a service', { service: 's3', caller: 'nobody', since: '-2h' }, 3_000],
  ];
  for (const [name, query, most] of cases) {
    test(`${name}: by index`, async () => {
      const { pages, scanned } = await explain(list(query));
      assert.deepEqual(scanned, []);
      assert.ok(pages < most, `${pages} pages`);
    });
  }

  test('a page in the middle costs no more than the first one', async () => {
    let next: string | null = null;
    await database.inTeam(principal.teamId, async (tx) => {
      for (let page = 0; page < 20; page += 1) {
        next = (await listHistory(tx, principal, { limit: '1000', ...(next === null ? {} : { before: next }) })).next;
      }
    });
    assert.ok(next !== null);
    const { pages, scanned } = await explain(list({ before: next }));
    assert.deepEqual(scanned, []);
    assert.ok(pages < 1_000, `${pages} pages`);
  });

  test('one invocation is found by its id', async () => {
    const [row] = await writer.sql<{ id: string }>(
      'select id from triggerfs.invocations where team_id = $1 order by id limit 1 offset 777',
      [principal.teamId],
    );
    const { pages, scanned } = await explain((tx) => findInvocation(tx, principal, row?.id ?? ''));
    assert.deepEqual(scanned, []);
    assert.ok(pages < 100, `${pages} pages`);
  });
});
