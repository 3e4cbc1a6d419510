import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { before, suite, test } from 'node:test';
import type { PlanView } from '../../protocol/http/plan.ts';
import { packageRoot } from '../../runtime/package-root.ts';
import { type Answer, type Fixture, startFixture, suiteCleanup } from './fixture.ts';

const INSERTS: Readonly<Record<string, string>> = {
  workers: `insert into triggerfs.workers (team_id, identity, token_hash) select t.id, $1, sha256(convert_to($1, 'UTF8'))`,
  services: `insert into triggerfs.services (team_id, name) select t.id, $1`,
  triggers: `insert into triggerfs.triggers (team_id, directory_id, name) select t.id, (select min(d.id) from triggerfs.directories d where d.team_id = t.id), $1`,
};

suite('plans', () => {
  const cleanup = suiteCleanup();
  let api: Fixture;
  let owner: string;

  before(async () => {
    api = await startFixture(cleanup);
    owner = await api.tokenOf('owner');
    await api.call('POST /v1/directories', { token: owner, body: { path: '/d' } });
  });

  async function setPlan(plan: string, team = 'a'): Promise<void> {
    await api.sql('update triggerfs.teams set plan = $1 where name = $2', [plan, team]);
  }

  /** Message of a plain SQL insert that is refused. */
  async function refusedBySql(table: string, name: string): Promise<string> {
    let message = '';
    await assert.rejects(
      api.sql(`${INSERTS[table]} from triggerfs.teams t where t.name = 'a'`, [name]),
      (error: Error & { code: string }) => {
        assert.equal(error.code, 'TF001');
        message = error.message;
        return true;
      },
    );
    return message;
  }

  function assertLimit(answer: Answer, message: string): void {
    assert.deepEqual([answer.status, answer.body.code, answer.body.detail], [409, 'TFS_LIMIT', message]);
  }

  test('the plans are those of the documentation, and self-hosted teams are unlimited', async () => {
    const plans = await api.sql(
      `select concat_ws(' ', name, coalesce(teams, -1), coalesce(workers, -1), coalesce(services, -1), coalesce(triggers, -1), coalesce(users, -1), coalesce(schedules, -1), coalesce(queued, -1), public_services) as plan
       from triggerfs.plans order by position`,
    );
    assert.deepEqual(
      plans.map((row) => row.plan),
      [
        'free 1 2 1 3 2 5 100 f',
        'basic 1 25 5 26 9 50 10000 t',
        'advanced 2 100 20 51 25 500 100000 t',
        'unlimited -1 -1 -1 -1 -1 -1 -1 t',
      ],
    );
    assert.deepEqual(await api.sql('select distinct plan from triggerfs.teams'), [{ plan: 'unlimited' }]);
    await assert.rejects(setPlan('golden'), /teams_plan/);
    const page = await readFile(join(packageRoot(), 'docs', 'teams.md'), 'utf8');
    const documented = await api.sql(
      `select '| ' || concat_ws(' | ', name, coalesce(teams::text, 'any'), coalesce(users::text, 'any'), coalesce(workers::text, 'any'),
         coalesce(services::text, 'any'), coalesce(triggers::text, 'any'), coalesce(schedules::text, 'any'), coalesce(queued::text, 'any'), case when public_services then 'yes' else 'no' end, history_days) || ' |' as row
       from triggerfs.plans`,
    );
    for (const { row } of documented) assert.ok(page.includes(String(row)), `docs/teams.md: ${row}`);
  });

  test('one more than the plan allows is refused through the API and through SQL with the same message', async () => {
    await setPlan('free');
    const wanted: [string, number, (name: string) => object][] = [
      ['workers', 2, (identity) => ({ identity })],
      ['services', 1, (name) => ({ name: `s-${name}` })],
      ['triggers', 3, (name) => ({ path: `/d/${name}` })],
    ];
    for (const [noun, limit, body] of wanted) {
      for (let i = 1; i <= limit; i += 1) {
        assert.equal((await api.call(`POST /v1/${noun}`, { token: owner, body: body(`n${i}`) })).status, 201, `${noun} ${i}`);
      }
      const message = await refusedBySql(noun, 'more');
      const one = limit === 1 ? noun.slice(0, -1) : noun;
      assert.equal(message, `the plan free allows ${limit} ${one} in a team, and the team a has ${limit}`);
      assertLimit(await api.call(`POST /v1/${noun}`, { token: owner, body: body('more') }), message);
    }
    assertLimit(
      await api.call('PATCH /v1/services/s-n1', { token: owner, body: { visibility: 'public', plugins: ['echo'] } }),
      'the plan free has no public services',
    );
    assertLimit(
      await api.call('POST /v1/users', { token: owner, body: { identity: 'fifth', secret: 'long enough 1' } }),
      'the plan free allows 2 users in a team, and the team a has 4',
    );
    const other = await api.tokenOf('owner', 'b');
    for (let i = 1; i <= 3; i += 1) await api.call('POST /v1/workers', { token: other, body: { identity: `n${i}` } });
    assert.equal((await api.call('GET /v1/workers/n3', { token: other })).status, 200, 'another team has its own plan');
  });

  test('inserts at once do not slip through, nor do several rows of one statement', async () => {
    await api.sql(`delete from triggerfs.workers where team_id = (select id from triggerfs.teams where name = 'a')`);
    const answers = await Promise.all(
      Array.from({ length: 8 }, (_, i) => api.call('POST /v1/workers', { token: owner, body: { identity: `p${i}` } })),
    );
    assert.deepEqual(answers.map((answer) => answer.status).sort(), [201, 201, 409, 409, 409, 409, 409, 409]);
    await api.sql(`delete from triggerfs.workers where team_id = (select id from triggerfs.teams where name = 'a')`);
    await assert.rejects(
      api.sql(
        `insert into triggerfs.workers (team_id, identity, token_hash) select t.id, 'q' || n, sha256(('q' || n)::bytea)
         from triggerfs.teams t, generate_series(1, 3) n where t.name = 'a'`,
      ),
      /the plan free allows 2 workers/,
    );
    assert.deepEqual((await api.call('GET /v1/workers', { token: owner })).body.items, []);
  });

  test('members cannot give their team another plan', async () => {
    assert.equal((await api.call('PATCH /v1/teams/a', { token: owner, body: { plan: 'unlimited' } })).status, 400);
    await assert.rejects(
      api.sql(`set role triggerfs_app; select set_config('app.team', '1', false); update triggerfs.teams set plan = 'unlimited'`),
      /permission denied/,
    );
    await assert.rejects(api.sql(`set role triggerfs_app; insert into triggerfs.teams (name) values ('x')`), /permission denied/);
  });

  test('GET /v1/plan shows use and limit', async () => {
    await api.call('POST /v1/workers', { token: owner, body: { identity: 'one' } });
    const plan = (await api.call('GET /v1/plan', { token: await api.tokenOf('viewer') })).body as unknown as PlanView;
    assert.deepEqual(plan, {
      plan: 'free',
      publicServices: false,
      historyDays: 1,
      limits: [
        { resource: 'teams', used: 0, limit: 1 },
        { resource: 'users', used: 4, limit: 2 },
        { resource: 'workers', used: 1, limit: 2 },
        { resource: 'services', used: 1, limit: 1 },
        { resource: 'triggers', used: 3, limit: 3 },
        { resource: 'schedules', used: 0, limit: 5 },
        { resource: 'queued', used: 0, limit: 100 },
      ],
    });
    await setPlan('unlimited');
    const more = (await api.call('GET /v1/plan', { token: owner })).body as unknown as PlanView;
    assert.deepEqual(
      more.limits.map(({ used, limit }) => [used, limit]),
      [
        [1, null],
        [4, null],
        [1, null],
        [1, null],
        [3, null],
        [0, null],
        [0, null],
      ],
    );
  });

  test('a plan limits the teams of an owner', async () => {
    await api.sql(`update triggerfs.plans set is_default = false where is_default`);
    await api.sql(`update triggerfs.plans set is_default = true where name = 'free'`);
    const member = await api.tokenOf('member');
    assert.equal((await api.call('POST /v1/teams', { token: member, body: { name: 'first' } })).status, 201);
    const message = 'the plan allows one owner 1 team, and this would be number 2';
    assertLimit(await api.call('POST /v1/teams', { token: member, body: { name: 'second' } }), message);
    assert.deepEqual(await api.sql(`select from triggerfs.teams where name = 'second'`), []);
    assertLimit(await promoteTwice(), message);
    await setPlan('advanced', 'first');
    assert.equal((await api.call('POST /v1/teams', { token: member, body: { name: 'second' } })).status, 201);
    assert.equal((await api.call('POST /v1/teams', { token: member, body: { name: 'third' } })).body.code, 'TFS_LIMIT');
  });

  async function promoteTwice(): Promise<Answer> {
    const other = await api.tokenOf('owner', 'b');
    await setPlan('free', 'b');
    await api.sql(
      `insert into triggerfs.memberships (team_id, user_id, role)
       select t.id, u.id, 'owner' from triggerfs.teams t, triggerfs.users u where t.name = 'first' and u.identity = 'admin-b'`,
    );
    return api.call('PATCH /v1/users/admin-b', { token: other, body: { role: 'owner' } });
  }

  test('a letter tells the team when 80 % are reached, once', async () => {
    await setPlan('basic', 'a');
    const letters = (): Promise<{ subject: string }[]> =>
      api.sql(`select subject from triggerfs.mails where kind = 'quota' and subject like '% services %' and subject like '4 of 5%'`);
    for (let i = 2; i <= 5; i += 1) {
      assert.equal((await letters()).length, i > 4 ? 1 : 0);
      await api.call('POST /v1/services', { token: owner, body: { name: `s-n${i}` } });
    }
    assert.deepEqual(await letters(), [{ subject: '4 of 5 services in use' }]);
  });
});
