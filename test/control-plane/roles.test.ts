import assert from 'node:assert/strict';
import { before, suite, test } from 'node:test';
import { type Fixture, SECRET, startFixture, suiteCleanup } from './fixture.ts';

suite('roles', () => {
  const cleanup = suiteCleanup();
  let api: Fixture;
  let owner: string;
  let admin: string;
  let member: string;
  let viewer: string;

  before(async () => {
    api = await startFixture(cleanup);
    [owner, admin, member, viewer] = (await Promise.all(['owner', 'admin', 'member', 'viewer'].map((role) => api.tokenOf(role)))) as [
      string,
      string,
      string,
      string,
    ];
  });

  test('members change what is theirs, admins change everything', async () => {
    const things: [string, string, object, object][] = [
      ['workers', 'w-admin', { identity: 'w-admin' }, { description: 'x' }],
      ['services', 's-admin', { name: 's-admin', visibility: 'team' }, { timeoutMs: 1000 }],
      ['directories', 'd-admin', { path: '/d-admin' }, { mode: 0o700 }],
      ['triggers', 't-admin', { path: '/d-admin/t-admin', visibility: 'team' }, { plugin: 'echo' }],
    ];
    for (const [noun, name, create, change] of things) {
      assert.equal((await api.call(`POST /v1/${noun}`, { token: admin, body: create })).status, 201, noun);
      for (const method of ['PATCH', 'DELETE']) {
        const answer = await api.call(`${method} /v1/${noun}/${name}`, { token: member, body: method === 'PATCH' ? change : undefined });
        assert.equal(answer.body.code, 'TFS_FORBIDDEN', `${method} ${noun}`);
      }
      const seen = await api.call(`GET /v1/${noun}/${name}`, { token: viewer });
      assert.equal(seen.status, 200, noun);
      assert.equal(seen.body.owner, 'admin-a');
    }
    assert.equal((await api.call('POST /v1/services/s-admin/workers', { token: member, body: { worker: 'w-admin' } })).status, 403);
    assert.equal((await api.call('POST /v1/workers/w-admin/token', { token: member })).status, 403);
    const own = await api.call('POST /v1/services', { token: member, body: { name: 's-member', visibility: 'team' } });
    assert.equal(own.status, 201);
    assert.equal((await api.call('PATCH /v1/services/s-member', { token: member, body: { description: 'mine' } })).status, 200);
    assert.equal((await api.call('PATCH /v1/services/s-member', { token: admin, body: { description: 'seen' } })).status, 200);
    assert.equal((await api.call('DELETE /v1/services/s-member', { token: admin })).status, 204);
  });

  test('what is local is seen by its owner alone', async () => {
    await api.call('POST /v1/services', { token: member, body: { name: 'hidden' } });
    await api.call('POST /v1/directories', { token: member, body: { path: '/hidden' } });
    await api.call('POST /v1/triggers', { token: member, body: { path: '/hidden/trigger' } });
    for (const [noun, name] of [
      ['services', 'hidden'],
      ['triggers', 'trigger'],
    ]) {
      assert.equal((await api.call(`GET /v1/${noun}/${name}`, { token: member })).body.visibility, 'local');
      for (const token of [owner, admin, viewer]) {
        assert.equal((await api.call(`GET /v1/${noun}/${name}`, { token })).status, 404, noun);
        assert.equal(
          (await api.call(`PATCH /v1/${noun}/${name}`, { token, body: { description: 'x' } })).status,
          token === viewer ? 403 : 404,
        );
        const list = await api.call(`GET /v1/${noun}`, { token });
        assert.ok(!JSON.stringify(list.body).includes('hidden'), noun);
      }
    }
    const paths = async (token: string): Promise<string> => JSON.stringify((await api.call('GET /v1/tree', { token })).body.triggers);
    assert.match(await paths(member), /hidden/);
    assert.doesNotMatch(await paths(owner), /hidden/);
    await api.call('PATCH /v1/triggers/trigger', { token: member, body: { visibility: 'team' } });
    assert.match(await paths(owner), /hidden/);
    const answer = await api.call('PATCH /v1/triggers/trigger', { token: admin, body: { visibility: 'local' } });
    assert.equal(answer.body.code, 'TFS_FORBIDDEN');
  });

  test('admins manage members, only owners manage owners, and one owner remains', async () => {
    const made = await api.call('POST /v1/users', { token: admin, body: { identity: 'new', secret: SECRET, email: 'new@example.org' } });
    assert.equal(made.status, 201);
    assert.deepEqual([made.body.role, made.body.identity, made.body.email], ['member', 'new', 'new@example.org']);
    assert.equal(
      (await api.call('POST /v1/users', { token: admin, body: { identity: 'own', secret: SECRET, role: 'owner' } })).status,
      403,
    );
    assert.equal((await api.call('PATCH /v1/users/new', { token: admin, body: { role: 'owner' } })).status, 403);
    assert.equal((await api.call('PATCH /v1/users/owner-a', { token: admin, body: { role: 'viewer' } })).status, 403);
    assert.equal((await api.call('DELETE /v1/users/owner-a', { token: admin })).status, 403);
    for (const call of [
      api.call('PATCH /v1/users/owner-a', { token: owner, body: { role: 'member' } }),
      api.call('DELETE /v1/users/owner-a', { token: owner }),
    ]) {
      assert.equal((await call).body.code, 'TFS_CONFLICT');
    }
    assert.equal((await api.call('PATCH /v1/users/new', { token: owner, body: { role: 'owner' } })).body.role, 'owner');
    assert.equal((await api.call('DELETE /v1/users/new', { token: owner })).status, 204);
    assert.deepEqual(await api.sql(`select from triggerfs.users where identity = 'new'`), [], 'an account without a team is gone');
    assert.equal(
      (await api.call('POST /v1/users', { token: admin, body: { identity: 'member-b', secret: SECRET } })).body.code,
      'TFS_CONFLICT',
    );
    await api.sql(
      `insert into triggerfs.memberships (team_id, user_id, role)
       select t.id, u.id, 'viewer' from triggerfs.teams t, triggerfs.users u where t.name = 'a' and u.identity = 'member-b'`,
    );
    assert.equal((await api.call('DELETE /v1/users/member-b', { token: admin })).status, 204);
    assert.equal((await api.sql(`select from triggerfs.users where identity = 'member-b'`)).length, 1, 'it still has the other team');
  });

  test('a role counts from the next request on', async () => {
    assert.equal((await api.call('POST /v1/services', { token: viewer, body: { name: 'by-viewer' } })).status, 403);
    await api.call('PATCH /v1/users/viewer-a', { token: owner, body: { role: 'member' } });
    assert.equal((await api.call('POST /v1/services', { token: viewer, body: { name: 'by-viewer' } })).status, 201);
    await api.call('PATCH /v1/users/viewer-a', { token: owner, body: { role: 'viewer' } });
    assert.equal((await api.call('DELETE /v1/services/by-viewer', { token: viewer })).status, 403);
    await api.sql(`update triggerfs.users set active = false where identity = 'viewer-a'`);
    assert.equal((await api.call('GET /v1/whoami', { token: viewer })).body.code, 'TFS_REVOKED');
    await assert.rejects(api.logIn('viewer'));
    await api.sql(`update triggerfs.users set active = true where identity = 'viewer-a'`);
  });

  test('a founder owns a new team; renaming and deleting it is for its owner', async () => {
    const made = await api.call('POST /v1/teams', { token: member, body: { name: 'c', description: 'third' } });
    assert.equal(made.status, 201);
    assert.equal((await api.call('POST /v1/teams', { token: member, body: { name: 'C' } })).body.code, 'TFS_CONFLICT');
    const login = await api.call('POST /v1/login', { body: { team: 'c', identity: 'member-a', secret: SECRET } });
    const token = String(login.body.apiToken);
    assert.equal(login.body.role, 'owner');
    assert.equal((await api.call('PATCH /v1/teams/c', { token, body: { name: 'renamed' } })).body.name, 'renamed');
    assert.equal((await api.call('GET /v1/whoami', { token })).body.team, 'renamed');
    assert.deepEqual(
      ((await api.call('GET /v1/teams', { token })).body.items as unknown as { name: string; role: string }[]).map((team) => [
        team.name,
        team.role,
      ]),
      [
        ['a', 'member'],
        ['renamed', 'owner'],
      ],
    );
    assert.equal((await api.call('DELETE /v1/teams/a', { token })).body.code, 'TFS_WRONG_TEAM');
    assert.equal((await api.call('DELETE /v1/teams/renamed', { token })).status, 204);
    assert.equal((await api.call('GET /v1/whoami', { token })).body.code, 'TFS_REVOKED');
    assert.equal((await api.call('GET /v1/whoami', { token: member })).status, 200, 'the other team is untouched');
  });
});
