import assert from 'node:assert/strict';
import { before, suite, test } from 'node:test';
import type { AccountSession } from '../../protocol/http/session.ts';
import { type Answer, type Fixture, startFixture, suiteCleanup } from './fixture.ts';

const PASSWORD = 'a good password';

suite('sign-up', () => {
  const cleanup = suiteCleanup();
  let api: Fixture;

  before(async () => {
    api = await startFixture(cleanup);
  });

  function signUp(identity: string, email = `${identity}@example.org`, password = PASSWORD): Promise<Answer> {
    return api.call('POST /v1/signup', { body: { identity, email, password } });
  }

  /** The code in the last mail to an address. */
  function codeFor(email: string): string {
    const mail = api.mails.findLast(({ to }) => to === email);
    return /activation code is (\S+)/.exec(mail?.text ?? '')?.[1] ?? 'none';
  }

  function activate(identity: string, code: string): Promise<Answer> {
    return api.call('POST /v1/activate', { body: { identity, code } });
  }

  function logIn(identity: string, secret = PASSWORD): Promise<Answer> {
    return api.call('POST /v1/login', { body: { identity, secret } });
  }

  async function account(identity: string): Promise<AccountSession> {
    assert.equal((await signUp(identity)).status, 202);
    assert.equal((await activate(identity, codeFor(`${identity}@example.org`))).status, 204);
    const answer = await logIn(identity);
    assert.equal(answer.status, 200);
    return answer.body as unknown as AccountSession;
  }

  test('sign up, activate, log in without a team, make a team and switch to it', async () => {
    const answer = await signUp('alice');
    assert.deepEqual([answer.status, answer.body], [202, { identity: 'alice', activation: 'log' }]);
    const early = await logIn('alice');
    assert.deepEqual([early.status, early.body.detail], [403, 'the account alice waits for its activation code']);
    assert.equal((await logIn('alice', 'another password')).body.code, 'TFS_BAD_CREDENTIALS');
    const code = codeFor('alice@example.org');
    assert.match(code, /^[2-9A-Z]{4}-[2-9A-Z]{4}$/);
    assert.equal((await activate('ALICE', ` ${code.replace('-', '').toLowerCase()} `)).status, 204);
    assert.equal((await activate('alice', code)).body.code, 'TFS_BAD_CREDENTIALS', 'a code opens once');

    const session = (await logIn('alice@example.org')).body as unknown as AccountSession;
    assert.deepEqual(
      [session.team, session.identity, session.role, session.teams, session.invitations, session.unread],
      [null, 'alice', 'account', [], 0, 0],
    );
    assert.ok(!('edgeToken' in session) && !('channelKey' in session));
    const token = session.apiToken;
    const who = (await api.call('GET /v1/whoami', { token })).body;
    assert.deepEqual([who.kind, who.team, who.role, who.unread], ['account', null, 'account', 0]);
    const refused = await api.call('GET /v1/workers', { token });
    assert.deepEqual([refused.status, refused.body.detail], [403, 'this login is in no team; switch to a team first']);

    assert.equal((await api.call('POST /v1/teams', { token, body: { name: 'wonderland' } })).status, 201);
    const switched = await api.call('POST /v1/switch', { token, body: { team: 'Wonderland' } });
    assert.deepEqual([switched.body.team, switched.body.role], ['wonderland', 'owner']);
    const inTeam = String(switched.body.apiToken);
    assert.equal((await api.call('POST /v1/workers', { token: inTeam, body: { identity: 'w' } })).status, 201);
    assert.equal((await api.call('POST /v1/switch', { token: inTeam, body: { team: null } })).body.team, null);
    const renewed = await api.call('POST /v1/renew', { token });
    assert.deepEqual([renewed.body.team, (renewed.body.teams as unknown as unknown[]).length], [null, 1]);
    assert.equal((await api.call('POST /v1/logout', { token })).status, 204);
    assert.equal((await api.call('GET /v1/teams', { token })).body.code, 'TFS_REVOKED');
  });

  test('teams of others and teams that do not exist are the same to someone who switches', async () => {
    const { apiToken: token } = await account('bob');
    const answers = await Promise.all(['a', 'no-such-team'].map((team) => api.call('POST /v1/switch', { token, body: { team } })));
    assert.deepEqual(
      answers.map(({ status, body }) => [status, body.code, body.detail]),
      [
        [404, 'TFS_UNKNOWN_TEAM', 'you are in no team a'],
        [404, 'TFS_UNKNOWN_TEAM', 'you are in no team no-such-team'],
      ],
    );
  });

  test('identities, addresses and passwords that are no good are refused', async () => {
    const refused: [Promise<Answer>, RegExp][] = [
      [signUp('ab'), /identity/],
      [signUp('x'.repeat(33), 'x@example.org'), /identity/],
      [signUp('a b c', 'x@example.org'), /identity/],
      [signUp('carol', 'carol'), /email/],
      [signUp('carol', 'carol@example.org', 'short'), /password/],
      [signUp('carol', 'carol@example.org', 'aaaaaaaaaa'), /different characters/],
      [signUp('carol', 'carol@example.org', `${'ä'.repeat(20)}bcdefghijklmnopqrstuvwxyz01234567890`), /more than 72/],
      [signUp('caroline', 'carol@example.org', 'Caroline'), /name of its owner/],
    ];
    for (const [answer, why] of refused) {
      assert.equal((await answer).status, 400);
      assert.match((await answer).body.detail, why);
    }
    assert.deepEqual(await api.sql(`select from triggerfs.users where identity ilike 'carol%'`), []);
  });

  test('an address that has an account already gets the same answer, and a mail that says so', async () => {
    await account('dora');
    const again = await signUp('dora2', 'Dora@Example.org');
    assert.deepEqual([again.status, again.body], [202, { identity: 'dora2', activation: 'log' }]);
    const mail = api.mails.at(-1);
    assert.match(mail?.text ?? '', /belongs to the account dora already/);
    assert.equal((await signUp('dora2', 'other@example.org')).body.code, 'TFS_CONFLICT', 'as for any identity that is taken');
    assert.equal((await api.call('POST /v1/signup/resend', { body: { identity: 'dora2' } })).status, 202);
    assert.equal(api.mails.at(-1), mail, 'no code is sent to somebody else’s account');
  });

  test('an address belongs to who proves it, not to who wrote it down', async () => {
    const owner = await api.tokenOf('owner');
    await api.call('POST /v1/users', { token: owner, body: { identity: 'squatter', email: 'eve@example.org', secret: PASSWORD } });
    await account('eve');
    assert.deepEqual(await api.sql(`select identity, email from triggerfs.users where identity in ('eve', 'squatter') order by 1`), [
      { identity: 'eve', email: 'eve@example.org' },
      { identity: 'squatter', email: null },
    ]);
  });

  test('who writes an address down learns nothing about its owner and takes nothing from them', async () => {
    await account('judy');
    const owner = await api.tokenOf('owner', 'b');
    for (const [identity, email] of [
      ['copycat', 'Judy@example.org'],
      ['somebody', 'unused@example.org'],
    ]) {
      const made = await api.call('POST /v1/users', { token: owner, body: { identity, email, secret: 'the password of both' } });
      assert.deepEqual([made.status, made.body.email], [201, email]);
    }
    assert.equal((await logIn('judy@example.org')).body.identity, 'judy');
    assert.equal((await logIn('judy@example.org', 'the password of both')).body.code, 'TFS_BAD_CREDENTIALS');
    await assert.rejects(api.sql(`update triggerfs.users set signed_up = true where identity = 'copycat'`), /users_email/);
  });

  test('a thousand tries for a code, counted also when they come at once; then another one must be sent', async () => {
    await signUp('frank');
    const good = codeFor('frank@example.org');
    await api.sql(`update triggerfs.activations a set tries = 996 from triggerfs.users u where u.id = a.user_id and u.identity = 'frank'`);
    const wrong = await Promise.all(Array.from({ length: 4 }, () => activate('frank', 'AAAA-AAAA')));
    assert.deepEqual(new Set(wrong.map((answer) => answer.body.code)), new Set(['TFS_BAD_CREDENTIALS']));
    const [row] = await api.sql(`select triggerfs.activate('frank', sha256($1)) as opened`, [Buffer.from(good.replace('-', ''))]);
    assert.deepEqual(row, { opened: false });
    const count = api.mails.length;
    await api.call('POST /v1/signup/resend', { body: { identity: 'frank' } });
    assert.equal(api.mails.length, count, 'not within a minute');
    for (let i = 1; i <= 4; i += 1) {
      await api.sql(`update triggerfs.activations set sent_at = now() - interval '2 minutes'`);
      await api.call('POST /v1/signup/resend', { body: { identity: 'frank' } });
    }
    assert.equal(api.mails.length, count + 3, 'three times at most');
    assert.notEqual(codeFor('frank@example.org'), good);
    assert.equal((await activate('frank', codeFor('frank@example.org'))).status, 204);
  });

  test('codes end after a day, and the identity is free again', async () => {
    await signUp('grace');
    await api.sql(`update triggerfs.activations set expires_at = now() - interval '1 s'`);
    assert.equal((await activate('grace', codeFor('grace@example.org'))).body.code, 'TFS_BAD_CREDENTIALS');
    assert.equal((await signUp('grace', 'grace@example.com')).status, 202);
    await api.sql(`update triggerfs.activations set expires_at = now() - interval '1 s'`);
    await api.sql('select triggerfs.sweep_people()');
    assert.deepEqual(await api.sql(`select from triggerfs.users where identity = 'grace'`), []);
    assert.equal((await api.sql(`select from triggerfs.users where identity = 'frank'`)).length, 1, 'open accounts stay');
  });

  test('people see their sessions and end them one by one', async () => {
    const first = await account('henry');
    const second = (await logIn('henry')).body as unknown as AccountSession;
    const token = first.apiToken;
    type Item = { id: string; current: boolean; team: string | null; agent: string };
    const list = async (): Promise<Item[]> => (await api.call('GET /v1/sessions', { token })).body.items as unknown as Item[];
    const items = await list();
    assert.deepEqual(
      items.map((item) => [item.current, item.team, item.agent]),
      [
        [true, null, 'node'],
        [false, null, 'node'],
      ],
    );
    const other = String(items[1]?.id);
    const stranger = await account('ida');
    assert.equal((await api.call(`DELETE /v1/sessions/${other}`, { token: stranger.apiToken })).body.code, 'TFS_NOT_FOUND');
    assert.equal((await api.call(`DELETE /v1/sessions/${other}`, { token })).status, 204);
    assert.equal((await api.call('GET /v1/whoami', { token: second.apiToken })).body.code, 'TFS_REVOKED');
    assert.equal((await list()).length, 1);
    const change = { secret: PASSWORD, newSecret: 'another password' };
    assert.equal((await api.call('PUT /v1/password', { token, body: change })).status, 204);
    assert.equal((await api.call('GET /v1/whoami', { token })).body.code, 'TFS_REVOKED');
    assert.equal((await logIn('henry', 'another password')).status, 200);
    assert.equal(
      (await api.sql(`select from triggerfs.sessions s join triggerfs.users u on u.id = s.user_id where u.identity = 'henry'`)).length,
      1,
    );
  });

  test('sign-ups are limited per address', async (t) => {
    const own = await startFixture(t);
    const statuses: number[] = [];
    for (let i = 0; i < 22; i += 1) {
      const body = { identity: `many${i}`, email: `many${i}@example.org`, password: PASSWORD };
      statuses.push((await own.call('POST /v1/signup', { body })).status);
    }
    assert.deepEqual([statuses.filter((status) => status === 202).length, statuses.filter((status) => status === 429).length], [20, 2]);
  });
});
