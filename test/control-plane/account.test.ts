import assert from 'node:assert/strict';
import { before, suite, test } from 'node:test';
import { type Answer, type Fixture, SECRET, startFixture, suiteCleanup } from './fixture.ts';

suite('the end of an account', () => {
  const cleanup = suiteCleanup();
  let api: Fixture;

  before(async () => {
    api = await startFixture(cleanup);
  });

  const end = (token: string, secret = SECRET): Promise<Answer> => api.call('DELETE /v1/account', { token, body: { secret } });

  test('takes the password, ends sessions and tokens at once, and leaves the team its things', async () => {
    const token = await api.tokenOf('member');
    const made = await api.call('POST /v1/workers', { token, body: { identity: 'w1' } });
    assert.equal(made.status, 201);
    const key = String((await api.call('POST /v1/tokens', { token, body: { name: 'k1', scopes: ['read'] } })).body.token);
    assert.equal((await api.call('GET /v1/workers', { token: key })).status, 200);
    const wrong = await end(token, 'a wrong one');
    assert.deepEqual([wrong.status, wrong.body.code], [401, 'TFS_BAD_CREDENTIALS']);
    assert.equal((await end(key)).status, 403, 'not with an API token');
    assert.equal((await end(token)).status, 204);
    for (const gone of [token, key]) assert.equal((await api.call('GET /v1/workers', { token: gone })).status, 401);
    assert.equal((await api.call('POST /v1/login', { body: { team: 'a', identity: 'member-a', secret: SECRET } })).status, 401);
    const owner = await api.tokenOf('owner');
    const worker = await api.call('GET /v1/workers/w1', { token: owner });
    assert.deepEqual([worker.status, worker.body.owner], [200, null]);
    assert.equal((await api.call('GET /v1/users/member-a', { token: owner })).status, 404);
  });

  test('is refused to the only owner of a team with others, and takes along teams that nobody else is in', async () => {
    const token = await api.tokenOf('owner');
    assert.equal((await api.call('POST /v1/teams', { token, body: { name: 'lonely' } })).status, 201);
    const refused = await end(token);
    assert.deepEqual(
      [refused.status, refused.body.detail],
      [409, 'you are the only owner of a; make another member owner first, or delete the team'],
    );
    assert.equal((await api.call('PATCH /v1/users/admin-a', { token, body: { role: 'owner' } })).status, 200);
    assert.equal((await end(token)).status, 204);
    const teams = await api.sql<{ name: string }>('select name from triggerfs.teams order by 1');
    assert.deepEqual(
      teams.map(({ name }) => name),
      ['a', 'b'],
    );
  });

  test('is refused to the only operator, and after five wrong passwords for a minute', async () => {
    await api.sql(`update triggerfs.users set operator = true where identity = 'viewer-b'`);
    const token = await api.tokenOf('viewer', 'b');
    const refused = await end(token);
    assert.deepEqual([refused.status, refused.body.detail], [409, 'you are the only operator of this installation']);
    await api.sql(`update triggerfs.users set operator = true where identity = 'owner-b'`);
    for (let i = 0; i < 5; i += 1) assert.equal((await end(token, `guess ${i}`)).status, 401);
    assert.equal((await end(token)).status, 429);
    assert.equal((await api.sql(`select from triggerfs.users where identity = 'viewer-b'`)).length, 1);
  });
});
