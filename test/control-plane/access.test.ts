import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { before, suite, test } from 'node:test';
import pg from 'pg';
import type { LoginResponse } from '../../protocol/http/session.ts';
import { packageRoot } from '../../runtime/package-root.ts';
import { type Answer, type Fixture, SECRET, startFixture, suiteCleanup } from './fixture.ts';

/**
 * Who they are to team `a`: four members, someone in no team, someone invited, the owner of team `b`, someone who is in both teams and
 * works in `b`, and someone without a token.
 */
const CALLERS = ['owner', 'admin', 'member', 'viewer', 'stranger', 'invited', 'other', 'both', 'anonymous'] as const;
type Caller = (typeof CALLERS)[number];
/** To them team `a` and what is in it must look as if it did not exist. */
const OUTSIDERS: readonly Caller[] = ['stranger', 'other', 'both', 'anonymous'];

const SESSION = '00000000-0000-4000-8000-000000000001';
/** Invocations in the queue: one waits, one is a dead letter. */
const WAITING = '00000000-0000-4000-8000-000000000011';
const DEAD = '00000000-0000-4000-8000-000000000021';
/** An invocation in the history. */
const ENDED = '00000000-0000-4000-8000-000000000031';

/** Everything of team `a` that routes address, put back before each call. Workers, services and trees belong to the admin. */
const PREPARE = `
  delete from triggerfs.users where identity in ('fresh', 'fresh-user');
  delete from triggerfs.teams where name in ('fresh', 'renamed');
  delete from triggerfs.memberships where user_id = 8003;
  insert into triggerfs.teams (id, name) overriding system value select 9000, 'a' where not exists (select from triggerfs.teams where id = 9000);
  insert into triggerfs.memberships (team_id, user_id, role)
    select 9000, u.id, split_part(u.identity, '-', 1) from triggerfs.users u where u.identity in ('owner-a', 'admin-a', 'member-a', 'viewer-a')
    on conflict do nothing;
  insert into triggerfs.memberships (team_id, user_id, role) values (9000, 8001, 'member'), (9000, 8002, 'member') on conflict (team_id, user_id) do update set role = 'member';
  delete from triggerfs.configuration_locks;
  delete from triggerfs.triggers where team_id = 9000 and id <> 9001;
  delete from triggerfs.directories where id not in (9001, 9002);
  delete from triggerfs.services where id <> 9001;
  delete from triggerfs.workers where id not in (9001, 9002);
  delete from triggerfs.api_tokens where id <> 9001;
  delete from triggerfs.invites where id <> 9001;
  insert into triggerfs.workers (id, team_id, identity, owner_id, token_hash) overriding system value
    select v.id, 9000, v.identity, u.id, sha256(v.identity::bytea) from (values (9001, 'w1'), (9002, 'w2')) v (id, identity), triggerfs.users u
    where u.identity = 'admin-a' on conflict do nothing;
  insert into triggerfs.services (id, team_id, name, owner_id) overriding system value
    select 9001, 9000, 's1', u.id from triggerfs.users u where u.identity = 'admin-a' on conflict do nothing;
  update triggerfs.services set plugins = '{echo}' where id = 9001;
  insert into triggerfs.hooks (id, team_id, service_id, name) overriding system value values (9001, 9000, 9001, 'h1') on conflict do nothing;
  delete from triggerfs.service_members where team_id = 9000 and worker_id = 9002;
  insert into triggerfs.service_members (team_id, service_id, worker_id) values (9000, 9001, 9001) on conflict do nothing;
  insert into triggerfs.directories (id, team_id, path, owner_id) overriding system value
    select v.id, 9000, v.path, u.id from (values (9001, '/d1'), (9002, '/empty')) v (id, path), triggerfs.users u where u.identity = 'admin-a' on conflict do nothing;
  insert into triggerfs.triggers (id, team_id, directory_id, name, owner_id) overriding system value
    select 9001, 9000, 9001, 't1', u.id from triggerfs.users u where u.identity = 'admin-a' on conflict do nothing;
  delete from triggerfs.schedules where id <> 9001;
  insert into triggerfs.schedules (id, team_id, name, cron, service, plugin, enabled, owner_id) overriding system value
    select 9001, 9000, 'c1', '@yearly', 's1', 'echo', false, u.id from triggerfs.users u where u.identity = 'admin-a' on conflict do nothing;
  insert into triggerfs.api_tokens (id, team_id, user_id, name, token_hash) overriding system value
    select 9001, 9000, u.id, 'k1', sha256('k1') from triggerfs.users u where u.identity = 'admin-a' on conflict do nothing;
  insert into triggerfs.invites (id, team_id, user_id, role, invited_by) overriding system value
    select 9001, 9000, 8003, 'member', u.id from triggerfs.users u where u.identity = 'admin-a' on conflict do nothing;
  insert into triggerfs.mails (id, team_id, kind, subject) overriding system value values (9001, 9000, 'test', 'secret plans') on conflict do nothing;
  update triggerfs.memberships set created_at = '2020-01-01' where team_id = 9000;
  insert into triggerfs.queue_items (id, team_id, source, caller, service, plugin, due_at, expires_at, state, parked, ended_at)
    select v.id::uuid, 9000, 'api', 'admin-a', 's1', 'echo', now() + interval '1 day', now() + interval '2 days', v.state, v.parked, v.ended_at
    from (values ('${WAITING}', 'queued', 1, null), ('${DEAD}', 'dead', 0, now())) v (id, state, parked, ended_at)
    on conflict (id) do update set state = excluded.state, parked = excluded.parked, ended_at = excluded.ended_at;
  insert into triggerfs.invocations (day, id, team_id, broker_id, service, plugin, algorithm, source, caller, payload_bytes, timeout_ms, deadline_at,
      expected, accepted_at, taken_at, ended_at, verdict, exit_code)
    values ((now() at time zone 'UTC')::date, '${ENDED}', 9000, '${ENDED}', 's1', 'echo', 'roundrobin', 'client', 'admin-a', 0, 1000, now(), 1, now(),
      now(), now(), 'ok', 0) on conflict do nothing;
  delete from triggerfs.redactions where team_id <> 9000;
  insert into triggerfs.redactions (team_id, name, word) values (9000, 'r1', 'sealed') on conflict do nothing;
  insert into triggerfs.statistics (team_id, hour, service, count, failures, p50_ms, p95_ms)
    values (9000, date_trunc('hour', now()) - interval '2 hours', 's1', 1, 0, 1, 1) on conflict do nothing;
  insert into triggerfs.sessions (session_id, user_id, team_id, address, agent, expires_at)
    select '${SESSION}', u.id, 9000, '', '', now() + interval '1 hour' from triggerfs.users u where u.identity = 'owner-a' on conflict do nothing;
`;

/** How each route is called: on an object of team `a`, with a good body. What is missing here takes neither. */
const REQUESTS: Readonly<Record<string, { readonly path?: string; readonly body?: object }>> = {
  'POST /v1/switch': { body: { team: 'a' } },
  'DELETE /v1/sessions/:id': { path: SESSION },
  'GET /v1/teams/:name': { path: 'a' },
  'POST /v1/teams': { body: { name: 'fresh' } },
  'PATCH /v1/teams/:name': { path: 'a', body: { description: 'x' } },
  'DELETE /v1/teams/:name': { path: 'a' },
  'POST /v1/leave': { body: { team: 'a' } },
  'GET /v1/users/:name': { path: 'target' },
  'POST /v1/users': { body: { identity: 'fresh-user', secret: SECRET } },
  'PATCH /v1/users/:name': { path: 'target', body: { role: 'viewer' } },
  'DELETE /v1/users/:name': { path: 'target' },
  'DELETE /v1/account': { body: { secret: 'a wrong one' } },
  'PUT /v1/password': { body: { secret: 'a wrong one', newSecret: 'another one' } },
  'POST /v1/invites': { body: { email: 'fresh@example.org' } },
  'DELETE /v1/invites/:id': { path: '9001' },
  'POST /v1/invitations/:id/accept': { path: '9001' },
  'POST /v1/invitations/:id/decline': { path: '9001' },
  'POST /v1/mail/:id/read': { path: '9001' },
  'POST /v1/maintenance': { body: { reason: 'x', inSeconds: 60 } },
  'DELETE /v1/maintenance/:id': { path: '1' },
  'GET /v1/workers/:name': { path: 'w1' },
  'POST /v1/workers': { body: { identity: 'fresh' } },
  'PATCH /v1/workers/:name': { path: 'w1', body: { description: 'x' } },
  'POST /v1/workers/:name/token': { path: 'w1' },
  'DELETE /v1/workers/:name': { path: 'w1' },
  'GET /v1/services/:name': { path: 's1' },
  'POST /v1/services': { body: { name: 'fresh' } },
  'PATCH /v1/services/:name': { path: 's1', body: { description: 'x' } },
  'DELETE /v1/services/:name': { path: 's1' },
  'GET /v1/services/:name/workers': { path: 's1' },
  'POST /v1/services/:name/workers': { path: 's1', body: { worker: 'w2' } },
  'DELETE /v1/services/:name/workers/:worker': { path: 's1' },
  'POST /v1/services/:name/plugins': { path: 's1', body: { plugin: 'uptime' } },
  'DELETE /v1/services/:name/plugins/:plugin': { path: 's1' },
  'GET /v1/services/:name/hooks': { path: 's1' },
  'PUT /v1/services/:name/hooks/:hook': { path: 's1', body: { scheme: 'github' } },
  'DELETE /v1/services/:name/hooks/:hook': { path: 's1' },
  'POST /v1/services/:name/hooks/:hook/secret': { path: 's1', body: {} },
  'GET /v1/directories/:name': { path: '%2Fd1' },
  'POST /v1/directories': { body: { path: '/fresh' } },
  'PATCH /v1/directories/:name': { path: '%2Fd1', body: { mode: 0o755 } },
  'DELETE /v1/directories/:name': { path: '%2Fempty' },
  'GET /v1/triggers/:name': { path: '%2Fd1%2Ft1' },
  'POST /v1/triggers': { body: { path: '/d1/fresh' } },
  'PATCH /v1/triggers/:name': { path: '%2Fd1%2Ft1', body: { description: 'x' } },
  'DELETE /v1/triggers/:name': { path: '%2Fd1%2Ft1' },
  'GET /v1/schedules/:name': { path: 'c1' },
  'GET /v1/schedules/:name/preview': { path: 'c1' },
  'GET /v1/schedules/:name/fires': { path: 'c1' },
  'POST /v1/schedules': { body: { name: 'fresh' } },
  'PATCH /v1/schedules/:name': { path: 'c1', body: { description: 'x' } },
  'DELETE /v1/schedules/:name': { path: 'c1' },
  'POST /v1/schedules/:name/run': { path: 'c1' },
  'POST /v1/schedules/:name/pause': { path: 'c1', body: {} },
  'POST /v1/schedules/:name/resume': { path: 'c1' },
  'GET /v1/history/:id': { path: ENDED },
  'GET /v1/history/:id/output': { path: ENDED },
  'POST /v1/history/:id/replay': { path: ENDED },
  'POST /v1/invocations': { body: { service: 's1', plugin: 'echo', delay: '1d' } },
  'GET /v1/invocations/:id': { path: WAITING },
  'DELETE /v1/invocations/:id': { path: WAITING },
  'POST /v1/invocations/:id/redrive': { path: DEAD },
  'POST /v1/queue/redrive': { body: { service: 'none' } },
  'PUT /v1/redactions/:name': { path: 'r1', body: { word: 'correct horse' } },
  'DELETE /v1/redactions/:name': { path: 'r1' },
  'POST /v1/tokens': { body: { name: 'fresh' } },
  'DELETE /v1/tokens/:name': { path: 'k1' },
  'POST /v1/configuration/check': { body: { commands: ['set workers w1 description "x"'] } },
  'POST /v1/configuration/commit': { body: { commands: ['set workers w1 description "y"'] } },
  'POST /v1/configuration/lock': { body: {} },
  'POST /v1/configuration/rollback': { body: { number: 49 } },
};

suite('access', () => {
  const cleanup = suiteCleanup();
  let api: Fixture;
  let database: pg.Client;
  const tokens = new Map<Caller, string>();

  before(async () => {
    api = await startFixture(cleanup);
    database = new pg.Client({ connectionString: api.databaseUrl });
    await database.connect();
    cleanup.after(() => database.end());
    await database.query(`update triggerfs.users set signed_up = true, email = identity || '@example.org'`);
    await database.query(
      `insert into triggerfs.users (id, identity, email, secret_hash, signed_up) overriding system value
       select v.id, v.identity, v.identity || '@example.org', crypt($1, gen_salt('bf', 4)), true
       from (values (8001, 'target'), (8002, 'both'), (8003, 'invited'), (8004, 'stranger')) v (id, identity)`,
      [SECRET],
    );
    await database.query(`insert into triggerfs.memberships select id, 8002, 'owner' from triggerfs.teams where name = 'b'`);
    // Object ids of team a are known to everybody who reads this test.
    await database.query(`delete from triggerfs.teams where name = 'a'`);
    await database.query(PREPARE);
    for (const caller of CALLERS) if (caller !== 'anonymous') tokens.set(caller, await logIn(caller));
  });

  async function logIn(caller: Caller): Promise<string> {
    const member = ['owner', 'admin', 'member', 'viewer'].includes(caller);
    const inB = caller === 'other' || caller === 'both';
    const identity = member ? `${caller}-a` : caller === 'other' ? 'owner-b' : caller;
    const body = { identity, secret: SECRET, ...(member ? { team: 'a' } : {}), ...(inB ? { team: 'b' } : {}) };
    const answer = await api.call('POST /v1/login', { body });
    assert.equal(answer.status, 200, `${caller}: ${answer.body.detail}`);
    return (answer.body as unknown as LoginResponse).apiToken;
  }

  function routes(): string[] {
    return api.controlPlane.routes
      .filter((route) => route.method !== 'HEAD' && route.policy !== 'public')
      .map(({ method, url }) => `${method} ${url}`);
  }

  /** Calls a route; `instead` replaces the name of team a's object by one that nobody has. */
  async function call(route: string, caller: Caller, instead?: string): Promise<Answer> {
    await database.query(PREPARE);
    const { path = 'none', body } = REQUESTS[route] ?? {};
    const concrete = route
      .replace(/:(id|name)/, instead ?? path)
      .replace(':worker', 'w1')
      .replace(':plugin', 'echo')
      .replace(':hook', 'h1');
    const token = route === 'POST /v1/logout' && caller !== 'anonymous' ? await logIn(caller) : tokens.get(caller);
    return api.call(concrete, { token, body });
  }

  test('every route answers every caller as written down', async () => {
    const golden = await readFile(join(packageRoot(), 'test', 'control-plane', 'golden', 'access.txt'), 'utf8');
    const expected = golden.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
    const seen: string[] = [];
    for (const route of routes()) {
      const statuses: number[] = [];
      for (const caller of CALLERS) statuses.push((await call(route, caller)).status);
      seen.push(`${route.padEnd(46)} ${statuses.join(' ')}`);
    }
    assert.deepEqual(seen.sort(), expected.sort());
  });

  test('to outsiders what exists in another team and what exists nowhere is the same', async () => {
    for (const route of routes().filter((url) => /:(id|name)/.test(url))) {
      const { path } = REQUESTS[route] ?? {};
      assert.ok(path !== undefined, `${route} needs an object of team a in this test`);
      const nowhere = /^[0-9a-f-]{36}$/.test(path)
        ? path.replace(/1$/, '2')
        : /^\d+$/.test(path)
          ? '7777'
          : path.replace(/[a-z]\w*$/, 'nowhere');
      for (const caller of OUTSIDERS) {
        const [real, none] = [await call(route, caller), await call(route, caller, nowhere)];
        const renamed: string = JSON.stringify(none.body).replaceAll(decodeURIComponent(nowhere), decodeURIComponent(path));
        assert.deepEqual([real.status, JSON.stringify(real.body)], [none.status, renamed], `${route} for ${caller}`);
      }
    }
  });

  test('no list that an outsider gets holds anything of team a', async () => {
    await database.query(PREPARE);
    for (const route of routes().filter((url) => url.startsWith('GET ') && !url.includes(':'))) {
      for (const caller of OUTSIDERS) {
        // Who is in both teams may know that; what is in the other one is still not shown.
        if (caller === 'both' && /teams|sessions|whoami/.test(route)) continue;
        const text = JSON.stringify((await call(route, caller)).body);
        assert.doesNotMatch(text, /"a"|-a"|"(w1|s1|k1)"|\/d1|secret plans|:900[01][,}]/, `${route} for ${caller}`);
      }
    }
  });
});
