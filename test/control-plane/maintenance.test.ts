import assert from 'node:assert/strict';
import { before, suite, test } from 'node:test';
import type { MaintenanceView } from '../../protocol/http/maintenance.ts';
import { type Fixture, SECRET, startFixture, suiteCleanup } from './fixture.ts';

suite('maintenance', () => {
  const cleanup = suiteCleanup();
  let api: Fixture;
  let operator: string;

  before(async () => {
    api = await startFixture(cleanup);
    await api.sql(`update triggerfs.users set operator = true where identity = 'owner-a'`);
    operator = await api.tokenOf('owner');
  });

  async function announced(): Promise<MaintenanceView[]> {
    return (await api.call('GET /v1/maintenance', { token: await api.tokenOf('viewer', 'b') })).body.items as unknown as MaintenanceView[];
  }

  function letters(like: string): Promise<{ team: string; body: string }[]> {
    return api.sql(
      `select t.name as team, l.body from triggerfs.mails l join triggerfs.teams t on t.id = l.team_id
       where l.kind = 'maintenance' and l.subject like $1 order by 1`,
      [like],
    );
  }

  test('is for operators, in a team or not', async () => {
    const body = { reason: 'disks', inSeconds: 60 };
    const refused = await api.call('POST /v1/maintenance', { token: await api.tokenOf('owner', 'b'), body });
    assert.deepEqual([refused.status, refused.body.detail], [403, 'only operators of the installation may do this']);
    const account = await api.call('POST /v1/login', { body: { identity: 'owner-a', secret: SECRET } });
    const token = String(account.body.apiToken);
    assert.equal((await api.call('GET /v1/whoami', { token })).body.operator, true);
    const made = await api.call('POST /v1/maintenance', { token, body });
    assert.equal(made.status, 201);
    assert.equal((await api.call(`DELETE /v1/maintenance/${made.body.id}`, { token })).status, 204);
    for (const wrong of [{ reason: '', inSeconds: 1 }, { reason: 'x', inSeconds: -1 }, { reason: 'x', inSeconds: 1.5 }, { reason: 'x' }]) {
      assert.equal((await api.call('POST /v1/maintenance', { token, body: wrong })).status, 400);
    }
  });

  test('is announced to every team and to the brokers, and can be taken back until it begins', async () => {
    await api.sql('delete from triggerfs.mails');
    const version = async (): Promise<number> =>
      Number((await api.sql<{ version: string }>('select version from triggerfs.config_version where team_id = 0'))[0]?.version);
    const earlier = await version();
    const made = (await api.call('POST /v1/maintenance', { token: operator, body: { reason: 'New disks.', inSeconds: 600 } })).body;
    assert.ok((await version()) > earlier, 'brokers read it again');
    assert.deepEqual(
      (await announced()).map(({ id, reason, announcedBy }) => [id, reason, announcedBy]),
      [[made.id, 'New disks.', 'owner-a']],
    );
    const left = Date.parse(String(made.startsAt)) - Date.now();
    assert.ok(left > 590_000 && left <= 601_000);
    assert.deepEqual(
      (await letters('Maintenance at %')).map(({ team, body }) => [team, body.split('.')[0]]),
      [
        ['a', 'New disks'],
        ['b', 'New disks'],
      ],
    );
    assert.equal((await api.call(`DELETE /v1/maintenance/${made.id}`, { token: operator })).status, 204);
    assert.equal((await letters('No maintenance at %')).length, 2);
    assert.deepEqual(await announced(), []);
    const begun = (await api.call('POST /v1/maintenance', { token: operator, body: { reason: 'now', inSeconds: 0 } })).body;
    assert.equal((await api.call(`DELETE /v1/maintenance/${begun.id}`, { token: operator })).body.code, 'TFS_NOT_FOUND');
    assert.equal((await announced()).length, 1);
  });
});
