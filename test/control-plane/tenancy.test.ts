import assert from 'node:assert/strict';
import { before, suite, test } from 'node:test';
import pg from 'pg';
import { silentLogger } from '../../runtime/logging.ts';
import { createPool } from '../../runtime/postgres/pool.ts';
import { type Fixture, startFixture, suiteCleanup } from './fixture.ts';

suite('tenancy', () => {
  const cleanup = suiteCleanup();
  let api: Fixture;

  before(async () => {
    api = await startFixture(cleanup);
    const token = await api.tokenOf('owner');
    await api.call('POST /v1/workers', { token, body: { identity: 'w1' } });
    await api.call('POST /v1/services', { token, body: { name: 's1', visibility: 'team', plugins: ['echo'] } });
    await api.call('POST /v1/services/s1/workers', { token, body: { worker: 'w1' } });
    await api.call('POST /v1/directories', { token, body: { path: '/d1' } });
    await api.call('POST /v1/triggers', { token, body: { path: '/d1/t1', service: 's1', visibility: 'public' } });
    await api.call('POST /v1/tokens', { token, body: { name: 'k1' } });
    for (const table of ['workers', 'services', 'directories', 'triggers', 'api_tokens', 'service_members']) {
      const [row] = await api.sql<{ count: string }>(`select count(*) from triggerfs.${table}`);
      assert.equal(row?.count, '1', table);
    }
  });

  async function snapshot(): Promise<unknown> {
    const tables = ['teams', 'memberships', 'workers', 'services', 'service_members', 'directories', 'triggers', 'api_tokens'];
    return Promise.all(tables.map((table) => api.sql(`select * from triggerfs.${table} order by 1, 2`)));
  }

  async function assertOutOfReach(token: string, path: string, change: object): Promise<void> {
    for (const method of ['GET', 'PATCH', 'DELETE']) {
      const answer = await api.call(`${method} ${path}`, { token, body: method === 'PATCH' ? change : undefined });
      const refused = answer.status === 404 || answer.body.code === 'TFS_WRONG_TEAM';
      assert.ok(refused, `${method} ${path}: ${answer.status} ${answer.body.code}`);
    }
  }

  test('another team’s owner reaches nothing, by name or by id, and changes nothing', async () => {
    const token = await api.tokenOf('owner', 'b');
    const earlier = await snapshot();
    const objects: [string, readonly string[], object][] = [
      ['teams', ['a'], { description: 'stolen' }],
      ['users', ['member-a'], { role: 'viewer' }],
      ['workers', ['w1', '1'], { description: 'stolen' }],
      ['services', ['s1', '1'], { description: 'stolen' }],
      ['directories', ['%2Fd1', '1'], { mode: 0 }],
      ['triggers', ['%2Fd1%2Ft1', 't1', '1'], { mode: 0 }],
    ];
    for (const [noun, names, change] of objects) {
      for (const name of names) await assertOutOfReach(token, `/v1/${noun}/${name}`, change);
    }
    for (const noun of ['workers', 'services', 'directories', 'triggers']) {
      assert.deepEqual((await api.call(`GET /v1/${noun}`, { token })).body.items, [], noun);
    }
    for (const route of [
      'POST /v1/workers/w1/token',
      'GET /v1/services/s1/workers',
      'DELETE /v1/services/s1/workers/w1',
      'DELETE /v1/services/s1/plugins/echo',
      'DELETE /v1/tokens/k1',
    ]) {
      assert.equal((await api.call(route, { token })).status, 404, route);
    }
    const own = await api.call('POST /v1/services', { token, body: { name: 'own' } });
    assert.equal(own.status, 201);
    assert.equal((await api.call('POST /v1/services/own/workers', { token, body: { worker: 'w1' } })).status, 404);
    assert.equal((await api.call('POST /v1/directories', { token, body: { path: '/d1/sub' } })).status, 404);
    await api.call('POST /v1/directories', { token, body: { path: '/d1' } });
    const foreign = await api.call('POST /v1/triggers', { token, body: { path: '/d1/t1', service: 's1' } });
    assert.equal(foreign.body.code, 'TFS_UNKNOWN_SERVICE');
    await api.call('DELETE /v1/services/own', { token });
    await api.call('DELETE /v1/directories/d1', { token });
    assert.deepEqual(await snapshot(), earlier);
  });

  test('the names of one team are free in another', async () => {
    const token = await api.tokenOf('owner', 'b');
    for (const [noun, body, name] of [
      ['workers', { identity: 'w1' }, 'w1'],
      ['services', { name: 's1' }, 's1'],
      ['directories', { path: '/d1' }, 'd1'],
    ] as const) {
      assert.equal((await api.call(`POST /v1/${noun}`, { token, body })).status, 201, noun);
      assert.equal((await api.call(`DELETE /v1/${noun}/${name}`, { token })).status, 204, noun);
    }
  });

  test('row level security: the real role sees one team, and nothing without one', async (t) => {
    const pool = createPool({ url: api.databaseUrl, role: 'triggerfs_app', max: 1, name: 'test', log: silentLogger() });
    const client = await pool.connect();
    t.after(() => {
      client.release();
      return pool.end();
    });
    const [a] = await api.sql<{ id: number }>(`select id from triggerfs.teams where name = 'a'`);
    const [b] = await api.sql<{ id: number }>(`select id from triggerfs.teams where name = 'b'`);
    assert.ok(a !== undefined && b !== undefined);
    const count = async (table: string): Promise<number> =>
      Number((await client.query<{ count: string }>(`select count(*) from triggerfs.${table}`)).rows[0]?.count);
    const tables = await api.sql<{ name: string; readable: boolean }>(
      `select c.relname as name, has_table_privilege('triggerfs_app', c.oid, 'select') as readable from pg_class c join pg_namespace n on n.oid = c.relnamespace
       join pg_attribute t on t.attrelid = c.oid and t.attname = 'team_id'
       where n.nspname = 'triggerfs' and c.relkind in ('r', 'p') and c.relname <> 'config_version'`,
    );
    assert.ok(tables.length >= 9);
    const unprotected = await api.sql(
      `select relname from pg_class where relnamespace = 'triggerfs'::regnamespace and relname = any($1) and not (relrowsecurity and relforcerowsecurity)`,
      [tables.map((table) => table.name)],
    );
    assert.deepEqual(unprotected, []);
    // Some tables are for definer functions alone.
    for (const { name } of tables.filter(({ readable }) => readable)) assert.equal(await count(name), 0, `${name} without a team`);
    for (const [team, workers] of [
      [a.id, 1],
      [b.id, 0],
      [a.id, 1],
    ] as const) {
      await client.query('begin');
      await client.query(`select set_config('app.team', $1, true)`, [String(team)]);
      assert.equal(await count('workers'), workers);
      assert.equal(await count('teams'), 1);
      assert.equal(await count('memberships'), 4);
      await client.query('commit');
    }
    assert.equal(await count('workers'), 0, 'the setting ends with its transaction');
    await client.query('begin');
    await client.query(`select set_config('app.team', $1, true)`, [String(b.id)]);
    assert.equal((await client.query(`update triggerfs.services set name = 'x' where true`)).rowCount, 0);
    assert.equal((await client.query('delete from triggerfs.workers where true')).rowCount, 0);
    await assert.rejects(
      client.query(`insert into triggerfs.services (team_id, name) values ($1, 'stolen')`, [a.id]),
      /row-level security/,
    );
    await client.query('rollback');
  });

  test('roles reach only what is theirs', async () => {
    const client = new pg.Client({ connectionString: api.databaseUrl });
    await client.connect();
    const denied = async (role: string, sql: string): Promise<void> => {
      await client.query(`set role ${role}`);
      await assert.rejects(client.query(sql), /permission denied/, `${role}: ${sql}`);
      await client.query('reset role');
    };
    try {
      await denied('triggerfs_app', 'select secret_hash from triggerfs.users');
      await denied('triggerfs_app', 'insert into triggerfs.brokers default values');
      await denied('triggerfs_edge', 'select * from triggerfs.signing_secrets');
      await denied('triggerfs_edge', 'select * from triggerfs.channel_secrets');
      await denied('triggerfs_edge', 'select token_hash from triggerfs.workers');
      await denied('triggerfs_edge', 'update triggerfs.services set plugins = null');
      await denied('triggerfs_edge', `select * from triggerfs.authenticate_user('a', 'owner-a', 'x')`);
      await denied('triggerfs_edge', `select triggerfs.create_team('x', '', 1)`);
      await denied('triggerfs_jobs', 'select * from triggerfs.users');
      await denied('triggerfs_jobs', 'select * from triggerfs.signing_secrets');
      const { rows } = await client.query(
        `select rolname from pg_roles where rolname like 'triggerfs%' and (rolsuper or rolbypassrls or rolcanlogin or rolcreaterole)`,
      );
      assert.deepEqual(rows, []);
    } finally {
      await client.end();
    }
  });
});
