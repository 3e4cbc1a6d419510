import assert from 'node:assert/strict';
import { before, suite, test } from 'node:test';
import { Attempts } from '../../control-plane/auth/attempts.ts';
import { TokenSigner, TokenVerifier } from '../../runtime/tokens.ts';
import { type Fixture, SECRET, startFixture, suiteCleanup } from './fixture.ts';

suite('login', () => {
  const cleanup = suiteCleanup();
  let api: Fixture;

  before(async () => {
    api = await startFixture(cleanup);
  });

  test('gives tokens that verify against the published keys, a channel key and the brokers', async () => {
    const session = await api.logIn('owner');
    const [row] = await api.sql<{ kid: string; public_key: string }>('select kid, public_key from triggerfs.signing_keys');
    assert.ok(row !== undefined);
    const keys = new Map([[row.kid, row.public_key]]);
    const verifier = new TokenVerifier('triggerfs-edge');
    verifier.update(keys);
    const claims = verifier.verify(session.edgeToken);
    assert.deepEqual(
      [claims.kind, claims.identity, claims.teamName, claims.role, claims.exp],
      ['user', 'owner-a', 'a', 'owner', session.expiresAt],
    );
    assert.throws(() => verifier.verify(session.apiToken), { code: 'TFS_UNAUTHENTICATED' });
    assert.ok(session.expiresAt - Date.now() / 1000 > 590 && session.expiresAt - Date.now() / 1000 <= 600);
    assert.match(session.channelKey.publicKey, /^.{40}$/);
    const stored = await api.sql<{ public_key: string }>('select public_key from triggerfs.channel_keys');
    assert.deepEqual(stored, [{ public_key: session.channelKey.publicKey }]);
    const jwks = (await api.call('GET /v1/jwks.json')).body.keys as unknown as { kid: string }[];
    assert.deepEqual(
      jwks.map((key) => key.kid),
      [row.kid],
    );
  });

  test('takes the email address too, and names without regard to case', async () => {
    await api.sql(`update triggerfs.users set email = 'Owner@Example.org' where identity = 'owner-a'`);
    for (const identity of ['owner@example.org', 'OWNER-A']) {
      assert.equal((await api.call('POST /v1/login', { body: { team: 'A', identity, secret: SECRET } })).body.identity, 'owner-a');
    }
  });

  test('a wrong password, an unknown user, a foreign team and an overlong password get the same answer', async () => {
    const answers = await Promise.all(
      [
        { team: 'a', identity: 'viewer-a', secret: 'wrong' },
        { team: 'a', identity: 'nobody', secret: SECRET },
        { team: 'b', identity: 'viewer-a', secret: SECRET },
        { team: 'none', identity: 'viewer-a', secret: SECRET },
        { team: 'a', identity: 'viewer-a', secret: SECRET + 'x'.repeat(100) },
      ].map((body) => api.call('POST /v1/login', { body })),
    );
    for (const answer of answers) assert.deepEqual(answer.body, answers[0]?.body);
    assert.equal(answers[0]?.body.code, 'TFS_BAD_CREDENTIALS');
  });

  test('five wrong passwords a minute, counted also when they come at once; others log in meanwhile', async () => {
    const guess = (): ReturnType<Fixture['call']> =>
      api.call('POST /v1/login', { body: { team: 'b', identity: 'admin-b', secret: 'guess' } });
    const codes = (await Promise.all(Array.from({ length: 9 }, guess))).map((answer) => answer.body.code);
    assert.equal(codes.filter((code) => code === 'TFS_BAD_CREDENTIALS').length, 5);
    assert.equal(codes.filter((code) => code === 'TFS_RATE_LIMITED').length, 4);
    const right = await api.call('POST /v1/login', { body: { team: 'b', identity: 'ADMIN-b', secret: SECRET } });
    assert.deepEqual([right.status, right.body.code], [429, 'TFS_RATE_LIMITED']);
    for (let i = 0; i < 12; i += 1) await api.logIn('owner', 'b');
  });

  test('right logins that come at once all succeed', async () => {
    await Promise.all(Array.from({ length: 12 }, () => api.logIn('admin', 'a')));
  });

  test('failures are counted per key and forgotten by age; errors do not count', async (t) => {
    t.mock.timers.enable({ apis: ['Date'], now: 1_000_000 });
    const attempts = new Attempts(2);
    const fail = async (): Promise<undefined> => undefined;
    await attempts.run('x', async () => true);
    await assert.rejects(
      attempts.run('x', () => Promise.reject(new Error('down'))),
      /down/,
    );
    await attempts.run('x', fail);
    await attempts.run('x', fail);
    await assert.rejects(
      attempts.run('x', async () => true),
      { code: 'TFS_RATE_LIMITED' },
    );
    assert.equal(await attempts.run('y', async () => true), true);
    t.mock.timers.tick(60_001);
    assert.equal(await attempts.run('x', async () => true), true);
  });

  test('renewing keeps the session, logging out ends it with all its tokens', async () => {
    const first = await api.logIn('member');
    const renewed = await api.call('POST /v1/renew', { token: first.apiToken, body: {} });
    assert.equal(renewed.status, 200);
    const other = await api.tokenOf('member');
    assert.equal((await api.call('POST /v1/logout', { token: first.apiToken })).status, 204);
    for (const token of [first.apiToken, String(renewed.body.apiToken)]) {
      assert.equal((await api.call('GET /v1/whoami', { token })).body.code, 'TFS_REVOKED');
    }
    assert.equal((await api.call('GET /v1/whoami', { token: other })).status, 200, 'another session goes on');
  });

  test('a session is renewed for at most 30 days after its login', async () => {
    const [key] = await api.sql<{ kid: string; private_key: string }>('select kid, private_key from triggerfs.signing_secrets');
    const verifier = new TokenVerifier('triggerfs-api');
    const [row] = await api.sql<{ kid: string; public_key: string }>('select kid, public_key from triggerfs.signing_keys');
    assert.ok(key !== undefined && row !== undefined);
    verifier.update(new Map([[row.kid, row.public_key]]));
    const claims = verifier.verify(await api.tokenOf('member'));
    const signer = new TokenSigner(key.kid, key.private_key);
    const loggedInAt = (seconds: number): string => {
      const { iss: _iss, aud: _aud, iat: _iat, ...rest } = claims;
      return signer.sign({ ...rest, auth: rest.auth - seconds }, 'triggerfs-api');
    };
    const late = await api.call('POST /v1/renew', { token: loggedInAt(30 * 86_400 - 60) });
    assert.ok(late.status === 200 && Number(late.body.expiresAt) <= Date.now() / 1000 + 60);
    assert.equal((await api.call('POST /v1/renew', { token: loggedInAt(30 * 86_400 + 1) })).body.code, 'TFS_UNAUTHENTICATED');
  });

  test('a new password ends all sessions and replaces the old one', async () => {
    const token = await api.tokenOf('viewer', 'b');
    const change = (secret: string, newSecret: string): ReturnType<Fixture['call']> =>
      api.call('PUT /v1/password', { token, body: { secret, newSecret } });
    assert.equal((await change('wrong', 'another secret')).body.code, 'TFS_BAD_CREDENTIALS');
    assert.equal((await change(SECRET, 'short')).status, 400);
    assert.equal((await change(SECRET, 'ü'.repeat(40))).status, 400, '80 bytes in 40 characters');
    assert.equal((await change(SECRET, 'another secret')).status, 204);
    assert.equal((await api.call('GET /v1/whoami', { token })).body.code, 'TFS_REVOKED');
    await assert.rejects(api.logIn('viewer', 'b'));
    await api.logIn('viewer', 'b', 'another secret');
    const [stored] = await api.sql<{ secret_hash: string }>(`select secret_hash from triggerfs.users where identity = 'viewer-b'`);
    assert.match(String(stored?.secret_hash), /^\$2a\$04\$/);
  });
});
