import assert from 'node:assert/strict';
import { before, suite, test } from 'node:test';
import type { AccountSession } from '../../protocol/http/session.ts';
import { type Answer, type Fixture, SECRET, startFixture, suiteCleanup } from './fixture.ts';

interface Letter {
  readonly id: number;
  readonly to: string;
  readonly kind: string;
  readonly subject: string;
  readonly readAt: string | null;
}

suite('invitations', () => {
  const cleanup = suiteCleanup();
  let api: Fixture;
  let owner: string;
  let admin: string;

  before(async () => {
    api = await startFixture(cleanup);
    [owner, admin] = [await api.tokenOf('owner'), await api.tokenOf('admin')];
  });

  /** An account of someone who signed up, without a team. */
  async function person(identity: string): Promise<string> {
    const email = `${identity}@example.org`;
    await api.sql(
      `insert into triggerfs.users (identity, email, secret_hash, signed_up) values ($1, $2, crypt($3, gen_salt('bf', 4)), true)`,
      [identity, email, SECRET],
    );
    return (await accountOf(identity)).apiToken;
  }

  async function accountOf(identity: string): Promise<AccountSession> {
    return (await api.call('POST /v1/login', { body: { identity, secret: SECRET } })).body as unknown as AccountSession;
  }

  function invite(body: object, token = owner): Promise<Answer> {
    return api.call('POST /v1/invites', { token, body });
  }

  async function items<T>(route: string, token: string): Promise<T[]> {
    return (await api.call(route, { token })).body.items as unknown as T[];
  }

  async function letters(token: string): Promise<Letter[]> {
    return items<Letter>('GET /v1/mail', token);
  }

  test('by identity: a letter and a mail, accepted in the account, then switched to', async () => {
    const token = await person('ann');
    const made = await invite({ identity: 'ANN', role: 'viewer' });
    assert.deepEqual(
      [made.status, made.body.identity, made.body.email, made.body.role, made.body.invitedBy],
      [201, 'ann', null, 'viewer', 'owner-a'],
    );
    assert.deepEqual([api.mails.at(-1)?.to, api.mails.at(-1)?.subject], ['ann@example.org', 'Invitation to the triggerFS team a']);
    assert.equal((await invite({ identity: 'ann' })).body.detail, 'the user is invited already');
    const session = await accountOf('ann');
    assert.deepEqual([session.invitations, session.unread], [1, 1]);
    const [invitation] = await items<{ id: number; team: string; role: string; invitedBy: string }>('GET /v1/invitations', token);
    assert.deepEqual([invitation?.team, invitation?.role, invitation?.invitedBy], ['a', 'viewer', 'owner-a']);
    const joined = await api.call(`POST /v1/invitations/${invitation?.id}/accept`, { token });
    assert.deepEqual([joined.body.team, joined.body.role], ['a', 'viewer']);
    assert.equal((await api.call(`POST /v1/invitations/${invitation?.id}/accept`, { token })).status, 404, 'once');
    const inTeam = await api.call('POST /v1/switch', { token, body: { team: 'a' } });
    assert.equal(inTeam.body.role, 'viewer');
    assert.deepEqual(await items('GET /v1/invites', owner), []);
    assert.equal((await invite({ identity: 'ann' })).body.detail, 'the user is a member of the team already');
  });

  test('by mail address: waits for whoever proves to have it, and for nobody else', async () => {
    const made = await invite({ email: 'Ben@example.org', role: 'admin' });
    assert.deepEqual([made.status, made.body.identity, made.body.email], [201, null, 'Ben@example.org']);
    assert.match(api.mails.at(-1)?.text ?? '', /Sign up with this mail address/);
    const other = await api.tokenOf('owner', 'b');
    await api.call('POST /v1/users', { token: other, body: { identity: 'not-ben', email: 'ben@example.org', secret: SECRET } });
    const thief = await accountOf('not-ben');
    assert.equal(thief.invitations, 0, 'an address that somebody wrote down proves nothing');
    assert.equal((await api.call(`POST /v1/invitations/${made.body.id}/accept`, { token: thief.apiToken })).status, 404);
    await api.call('DELETE /v1/users/not-ben', { token: other });
    const ben = await person('ben');
    assert.equal((await api.call(`POST /v1/invitations/${made.body.id}/accept`, { token: ben })).body.role, 'admin');
  });

  test('an address that has an account is answered like one that has none', async () => {
    await person('cora');
    const known = await invite({ email: 'cora@example.org' });
    const unknown = await invite({ email: 'nobody@example.org' });
    const shape = ({ status, body }: Answer): unknown => [status, { ...body, id: 0, email: '', createdAt: '', expiresAt: '' }];
    assert.deepEqual(shape(known), shape(unknown));
  });

  test('declined, withdrawn, ended and orphaned invitations cannot be accepted', async () => {
    const token = await person('dan');
    const accept = async (id: unknown): Promise<number> => (await api.call(`POST /v1/invitations/${id}/accept`, { token })).status;
    const declined = (await invite({ identity: 'dan' })).body.id;
    assert.equal((await api.call(`POST /v1/invitations/${declined}/decline`, { token })).status, 204);
    assert.equal((await api.call(`POST /v1/invitations/${declined}/decline`, { token })).status, 404);
    assert.equal(await accept(declined), 404);
    const withdrawn = (await invite({ identity: 'dan' })).body.id;
    assert.equal((await api.call(`DELETE /v1/invites/${withdrawn}`, { token: await api.tokenOf('owner', 'b') })).status, 404);
    assert.equal((await api.call(`DELETE /v1/invites/${withdrawn}`, { token: admin })).status, 204);
    assert.equal(await accept(withdrawn), 404);
    const ended = (await invite({ identity: 'dan' })).body.id;
    await api.sql(`update triggerfs.invites set expires_at = now() where id = $1`, [ended]);
    assert.equal(await accept(ended), 404);
    const orphaned = (await invite({ identity: 'dan' }, admin)).body.id;
    assert.ok(Number.isInteger(orphaned), 'an ended one is in nobody’s way');
    await api.call('PATCH /v1/users/admin-a', { token: owner, body: { role: 'member' } });
    assert.equal(await accept(orphaned), 404, 'who invited may no longer do so');
    await api.call('PATCH /v1/users/admin-a', { token: owner, body: { role: 'admin' } });
    assert.equal(await accept(orphaned), 200);
  });

  test('only owners invite owners; unknown identities are named', async () => {
    await person('eli');
    assert.equal((await invite({ identity: 'eli', role: 'owner' }, admin)).body.code, 'TFS_FORBIDDEN');
    assert.equal((await invite({ identity: 'eli', role: 'owner' })).status, 201);
    const [open] = await items<{ id: number; identity: string }>('GET /v1/invites', admin).then((all) =>
      all.filter((one) => one.identity === 'eli'),
    );
    assert.equal((await api.call(`DELETE /v1/invites/${open?.id}`, { token: admin })).body.code, 'TFS_FORBIDDEN');
    assert.equal((await invite({ identity: 'no-one' })).body.code, 'TFS_NOT_FOUND');
    for (const body of [{}, { identity: 'eli', email: 'eli@example.org' }, { email: 'eli' }])
      assert.equal((await invite(body)).status, 400);
  });

  test('an invitation beyond the plan is refused when it is accepted, and can be tried again', async () => {
    const token = await person('fay');
    const { id } = (await invite({ identity: 'fay' })).body;
    await api.sql(`update triggerfs.teams set plan = 'free' where name = 'a'`);
    assert.equal((await api.call(`POST /v1/invitations/${id}/accept`, { token })).body.code, 'TFS_LIMIT');
    await api.sql(`update triggerfs.teams set plan = 'unlimited' where name = 'a'`);
    assert.equal((await api.call(`POST /v1/invitations/${id}/accept`, { token })).status, 200);
  });

  test('who leaves goes on with the account; what they owned stays with the admins', async () => {
    const token = await person('gus');
    const { id } = (await invite({ identity: 'gus' })).body;
    await api.call(`POST /v1/invitations/${id}/accept`, { token });
    const inTeam = String((await api.call('POST /v1/switch', { token, body: { team: 'a' } })).body.apiToken);
    await api.call('POST /v1/services', { token: inTeam, body: { name: 'gus-local' } });
    assert.equal((await api.call('GET /v1/services/gus-local', { token: admin })).status, 404);
    assert.equal((await api.call('POST /v1/leave', { token: inTeam, body: { team: 'b' } })).body.code, 'TFS_WRONG_TEAM');
    const left = await api.call('POST /v1/leave', { token: inTeam, body: { team: 'a' } });
    assert.deepEqual([left.status, left.body.team, left.body.teams], [200, null, []]);
    assert.equal((await api.call('GET /v1/services', { token: inTeam })).body.code, 'TFS_REVOKED');
    assert.equal((await api.call('GET /v1/whoami', { token: String(left.body.apiToken) })).body.kind, 'account');
    const found = await api.call('GET /v1/services/gus-local', { token: admin });
    assert.deepEqual([found.status, found.body.owner], [200, null]);
    assert.equal((await api.call('POST /v1/leave', { token: owner, body: { team: 'a' } })).body.code, 'TFS_CONFLICT', 'the last owner');
  });

  test('mailboxes: own letters and the team’s since joining, read by each for themselves', async () => {
    const [team] = await api.sql<{ id: number }>(`select id from triggerfs.teams where name = 'b'`);
    const ids: number[] = [];
    for (const subject of ['first', 'second', 'third']) {
      const [row] = await api.sql<{ id: number }>(`select triggerfs.send_mail($1, null, 'test', $2, 'body') as id`, [team?.id, subject]);
      ids.push(Number(row?.id));
    }
    const reader = await api.tokenOf('member', 'b');
    const other = await api.logIn('viewer', 'b');
    assert.equal(other.unread, 3);
    assert.deepEqual(
      (await letters(reader)).map((letter) => [letter.to, letter.kind, letter.subject, letter.readAt]),
      ['third', 'second', 'first'].map((subject) => ['team', 'test', subject, null]),
    );
    for (let i = 0; i < 2; i += 1) assert.equal((await api.call(`POST /v1/mail/${ids[1]}/read`, { token: reader })).status, 204);
    assert.equal((await api.call('GET /v1/whoami', { token: reader })).body.unread, 2);
    assert.equal((await api.call('GET /v1/whoami', { token: other.apiToken })).body.unread, 3);
    const page = await api.call(`GET /v1/mail?unread=true&limit=1&before=${ids[2]}`, { token: reader });
    assert.deepEqual(
      (page.body.items as unknown as Letter[]).map((letter) => letter.subject),
      ['first'],
    );
    assert.equal((await api.call('GET /v1/mail?limit=0', { token: reader })).status, 400);
    assert.equal((await letters(owner)).filter((letter) => letter.kind === 'test').length, 0, 'another team’s');
    assert.equal((await api.call(`POST /v1/mail/${ids[0]}/read`, { token: owner })).body.code, 'TFS_NOT_FOUND');
    const late = await person('hal');
    await api.sql(
      `insert into triggerfs.memberships (team_id, user_id, role) select $1, id, 'member' from triggerfs.users where identity = 'hal'`,
      [team?.id],
    );
    const joined = String((await api.call('POST /v1/switch', { token: late, body: { team: 'b' } })).body.apiToken);
    assert.deepEqual(await letters(joined), [], 'letters from before are not for who came later');
  });
});
