import assert from 'node:assert/strict';
import { createHmac, generateKeyPairSync, randomUUID } from 'node:crypto';
import { before, suite, test } from 'node:test';
import { type ClaimsInput, TokenSigner } from '../../runtime/tokens.ts';
import { type Fixture, SECRET, startFixture, suiteCleanup } from './fixture.ts';

const READERS = ['viewer', 'member', 'admin', 'owner', 'token:read', 'token:write+read'];
/** Who is admitted; everyone else gets 401 or 403. Written down here on its own, so that a loosened policy is noticed. */
const ADMITTED: Readonly<Record<string, readonly string[]>> = {
  read: READERS,
  invoke: ['member', 'admin', 'owner', 'token:invoke'],
  change: ['member', 'admin', 'owner', 'token:write', 'token:write+read'],
  administer: ['admin', 'owner', 'token:write', 'token:write+read'],
  own: ['owner', 'token:write', 'token:write+read'],
  person: ['viewer', 'member', 'admin', 'owner'],
  account: ['viewer', 'member', 'admin', 'owner', 'account'],
  known: [...READERS, 'account'],
  // Another person than the team’s owner operates the installation.
  operate: ['operator'],
  session: ['viewer', 'member', 'admin', 'owner', 'account', 'worker', 'token:read', 'token:write', 'token:write+read', 'token:invoke'],
  // An API token has no login to end.
  logout: ['viewer', 'member', 'admin', 'owner', 'account', 'worker'],
};

/** Every route and who may call it. A route that is missing here fails the test. */
const ROUTES: Readonly<Record<string, string>> = {
  'GET /healthz': 'public',
  'GET /metrics': 'public',
  'GET /openapi.json': 'public',
  'POST /v1/login': 'public',
  'POST /v1/workers/login': 'public',
  'GET /v1/jwks.json': 'public',
  'GET /.well-known/jwks.json': 'public',
  'POST /v1/renew': 'session',
  'POST /v1/logout': 'logout',
  'GET /v1/whoami': 'session',
  'POST /v1/switch': 'account',
  'GET /v1/sessions': 'account',
  'DELETE /v1/sessions/:id': 'account',
  'POST /v1/signup': 'public',
  'POST /v1/signup/resend': 'public',
  'POST /v1/activate': 'public',
  'GET /v1/brokers': 'session',
  'GET /v1/teams': 'known',
  'GET /v1/teams/:name': 'read',
  'POST /v1/teams': 'account',
  'PATCH /v1/teams/:name': 'own',
  'DELETE /v1/teams/:name': 'own',
  'POST /v1/leave': 'person',
  'GET /v1/users': 'read',
  'GET /v1/users/:name': 'read',
  'POST /v1/users': 'administer',
  'PATCH /v1/users/:name': 'administer',
  'DELETE /v1/users/:name': 'administer',
  'DELETE /v1/account': 'account',
  'PUT /v1/password': 'account',
  'GET /v1/invites': 'administer',
  'POST /v1/invites': 'administer',
  'DELETE /v1/invites/:id': 'administer',
  'GET /v1/invitations': 'account',
  'POST /v1/invitations/:id/accept': 'account',
  'POST /v1/invitations/:id/decline': 'account',
  'GET /v1/mail': 'account',
  'GET /v1/maintenance': 'session',
  'POST /v1/maintenance': 'operate',
  'DELETE /v1/maintenance/:id': 'operate',
  'POST /v1/mail/:id/read': 'account',
  'GET /v1/workers': 'read',
  'GET /v1/workers/:name': 'read',
  'POST /v1/workers': 'change',
  'PATCH /v1/workers/:name': 'change',
  'POST /v1/workers/:name/token': 'change',
  'DELETE /v1/workers/:name': 'change',
  'GET /v1/services': 'read',
  'GET /v1/services/:name': 'read',
  'POST /v1/services': 'change',
  'PATCH /v1/services/:name': 'change',
  'DELETE /v1/services/:name': 'change',
  'GET /v1/services/:name/workers': 'read',
  'POST /v1/services/:name/workers': 'change',
  'DELETE /v1/services/:name/workers/:worker': 'change',
  'POST /v1/services/:name/plugins': 'change',
  'DELETE /v1/services/:name/plugins/:plugin': 'change',
  'GET /v1/directories': 'read',
  'GET /v1/directories/:name': 'read',
  'POST /v1/directories': 'change',
  'PATCH /v1/directories/:name': 'change',
  'DELETE /v1/directories/:name': 'change',
  'GET /v1/triggers': 'read',
  'GET /v1/triggers/:name': 'read',
  'POST /v1/triggers': 'change',
  'PATCH /v1/triggers/:name': 'change',
  'DELETE /v1/triggers/:name': 'change',
  'GET /v1/tree': 'read',
  'GET /v1/configuration': 'read',
  'GET /v1/configuration/commits': 'read',
  'POST /v1/configuration/check': 'change',
  'POST /v1/configuration/commit': 'change',
  'POST /v1/configuration/confirm': 'change',
  'POST /v1/configuration/rollback': 'administer',
  'POST /v1/configuration/lock': 'change',
  'DELETE /v1/configuration/lock': 'change',
  'GET /v1/tokens': 'person',
  'POST /v1/tokens': 'person',
  'DELETE /v1/tokens/:name': 'person',
  'GET /v1/plan': 'read',
  'POST /v1/invocations': 'invoke',
  'GET /v1/invocations/:id': 'read',
  'DELETE /v1/invocations/:id': 'invoke',
  'POST /v1/invocations/:id/redrive': 'invoke',
  'GET /v1/history': 'read',
  'GET /v1/history/:id': 'read',
  'GET /v1/history/:id/output': 'read',
  'POST /v1/history/:id/replay': 'invoke',
  'GET /v1/statistics': 'read',
  'GET /v1/queue': 'read',
  'POST /v1/queue/redrive': 'invoke',
  'GET /v1/queue/secret': 'administer',
  'POST /v1/queue/secret': 'administer',
  'GET /v1/services/:name/hooks': 'read',
  'PUT /v1/services/:name/hooks/:hook': 'change',
  'DELETE /v1/services/:name/hooks/:hook': 'change',
  'POST /v1/services/:name/hooks/:hook/secret': 'change',
  'GET /v1/schedules': 'read',
  'GET /v1/schedules/:name': 'read',
  'GET /v1/schedules/:name/preview': 'read',
  'GET /v1/schedules/:name/fires': 'read',
  'POST /v1/schedules': 'change',
  'PATCH /v1/schedules/:name': 'change',
  'DELETE /v1/schedules/:name': 'change',
  'POST /v1/schedules/:name/run': 'change',
  'POST /v1/schedules/:name/pause': 'change',
  'POST /v1/schedules/:name/resume': 'change',
  'GET /v1/redactions': 'read',
  'PUT /v1/redactions/:name': 'administer',
  'DELETE /v1/redactions/:name': 'administer',
};

const DENIALS = new Set(['TFS_UNAUTHENTICATED', 'TFS_REVOKED', 'TFS_FORBIDDEN']);
const WORKER_TOKEN = randomUUID();
const CALLERS = [
  'viewer',
  'member',
  'admin',
  'owner',
  'account',
  'operator',
  'worker',
  'token:read',
  'token:write',
  'token:write+read',
  'token:invoke',
];

suite('authorization', () => {
  const cleanup = suiteCleanup();
  let api: Fixture;
  const apiTokens = new Map<string, string>();

  before(async () => {
    api = await startFixture(cleanup);
    await api.team('ops');
    await api.sql(`update triggerfs.users set operator = true where identity = 'viewer-ops'`);
    await api.sql(
      `insert into triggerfs.workers (team_id, identity, token_hash) select id, 'w1', sha256($1) from triggerfs.teams where name = 'a'`,
      [WORKER_TOKEN],
    );
    const token = await api.tokenOf('owner');
    for (const scopes of ['read', 'write', 'write+read', 'invoke']) {
      const answer = await api.call('POST /v1/tokens', { token, body: { name: scopes.replace('+', '-'), scopes: scopes.split('+') } });
      apiTokens.set(`token:${scopes}`, String(answer.body.token));
    }
  });

  async function tokenFor(caller: string): Promise<string> {
    const apiToken = apiTokens.get(caller);
    if (apiToken !== undefined) return apiToken;
    if (caller === 'operator') return api.tokenOf('viewer', 'ops');
    if (caller === 'account') {
      return String((await api.call('POST /v1/login', { body: { identity: 'owner-a', secret: SECRET } })).body.apiToken);
    }
    if (caller !== 'worker') return api.tokenOf(caller);
    const answer = await api.call('POST /v1/workers/login', { body: { team: 'a', identity: 'w1', token: WORKER_TOKEN } });
    return String(answer.body.apiToken);
  }

  /** Addresses what does not exist, with a body that no route takes: whoever is admitted changes nothing. */
  function request(route: string): { path: string; body: unknown } {
    const path = route.replaceAll(/:\w+/g, 'nobody');
    return { path, body: /^(POST|PUT|PATCH)/.test(route) && !/(logout|renew|token)$/.test(route) ? { unknown: true } : undefined };
  }

  test('every registered route has an expectation, and the other way round', () => {
    const registered = api.controlPlane.routes.filter((route) => route.method !== 'HEAD').map((route) => `${route.method} ${route.url}`);
    assert.deepEqual(registered.toSorted(), Object.keys(ROUTES).toSorted());
  });

  test('HEAD of a route needs the same as GET', () => {
    for (const head of api.controlPlane.routes.filter((route) => route.method === 'HEAD')) {
      const get = api.controlPlane.routes.find((route) => route.method === 'GET' && route.url === head.url);
      assert.equal(head.policy, get?.policy, head.url);
    }
  });

  for (const [route, policy] of Object.entries(ROUTES)) {
    if (policy === 'public') continue;
    test(`${route} admits ${policy}`, async () => {
      const { path, body } = request(route);
      for (const caller of CALLERS) {
        const answer = await api.call(path, { token: await tokenFor(caller), body });
        const denied = DENIALS.has(answer.body.code);
        const admitted = ADMITTED[policy]?.includes(caller) || (caller === 'operator' && ADMITTED[policy]?.includes('viewer'));
        assert.equal(denied, !admitted, `${route} for ${caller}: ${answer.status} ${answer.body.code}`);
        if (denied) assert.ok(answer.status === 401 || answer.status === 403);
        assert.ok(answer.status < 500, `${route} for ${caller}: ${answer.status}`);
      }
    });
  }

  test('no route but the public ones takes any bad token', async () => {
    const bad = await badTokens();
    for (const [route, policy] of Object.entries(ROUTES)) {
      if (policy === 'public') continue;
      const { path, body } = request(route);
      for (const [name, token] of bad) {
        const answer = await api.call(path, { token, body });
        assert.equal(answer.status, 401, `${route} with ${name}: ${answer.status}`);
        assert.equal(answer.headers.get('www-authenticate'), 'Bearer');
        assert.equal(answer.body.code, name.startsWith('revoked') ? 'TFS_REVOKED' : 'TFS_UNAUTHENTICATED', `${route} with ${name}`);
      }
    }
  });

  async function badTokens(): Promise<Map<string, string | undefined>> {
    const [key] = await api.sql<{ kid: string; private_key: string }>('select kid, private_key from triggerfs.signing_secrets');
    const [user] = await api.sql<{ id: number; team: number }>(
      `select user_id as id, team_id as team from triggerfs.memberships join triggerfs.users on id = user_id where identity = 'owner-a'`,
    );
    assert.ok(key !== undefined && user !== undefined);
    const now = Math.floor(Date.now() / 1000);
    const claims: ClaimsInput = {
      kind: 'user',
      sub: String(user.id),
      team: user.team,
      teamName: 'a',
      identity: 'owner-a',
      role: 'owner',
      epoch: 1,
      sid: randomUUID(),
      auth: now,
      exp: now + 60,
    };
    const signer = new TokenSigner(key.kid, key.private_key);
    const good = signer.sign(claims, 'triggerfs-api');
    assert.equal(
      (await api.call('GET /v1/whoami', { token: good })).status,
      200,
      'the forged tokens differ from a good one only where they say',
    );
    const stranger = generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
    const part = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
    const [, payload = '', signature = ''] = good.split('.');
    const hmacInput = `${part({ alg: 'HS256', typ: 'at+jwt', kid: key.kid })}.${payload}`;
    const [jwk] = (await api.call('GET /v1/jwks.json')).body.keys as unknown as [{ x: string }];
    const loggedOut = await api.tokenOf('member');
    assert.equal((await api.call('POST /v1/logout', { token: loggedOut })).status, 204);
    return new Map([
      ['no token', undefined],
      ['garbage', 'garbage'],
      ['an unknown API token', `tfs_${'A'.repeat(43)}`],
      ['an expired token', signer.sign({ ...claims, exp: now - 1 }, 'triggerfs-api')],
      ['a token for brokers', signer.sign(claims, 'triggerfs-edge')],
      ['a stranger’s signature', new TokenSigner(key.kid, stranger).sign(claims, 'triggerfs-api')],
      ['an unknown key', new TokenSigner('unknown', stranger).sign(claims, 'triggerfs-api')],
      ['no signature', `${part({ alg: 'none', typ: 'at+jwt', kid: key.kid })}.${payload}.`],
      [
        'a symmetric signature',
        `${hmacInput}.${createHmac('sha256', Buffer.from(jwk.x, 'base64url')).update(hmacInput).digest('base64url')}`,
      ],
      [
        'a changed payload',
        `${good.split('.')[0]}.${part({ ...claims, sid: randomUUID(), aud: 'triggerfs-api', iss: 'triggerfs', iat: now })}.${signature}`,
      ],
      ['an incomplete payload', signer.sign({ ...claims, role: undefined as never }, 'triggerfs-api')],
      ['revoked by logout', loggedOut],
      ['revoked by a new epoch', signer.sign({ ...claims, epoch: 7 }, 'triggerfs-api')],
      ['revoked by leaving the team', signer.sign({ ...claims, team: user.team + 1 }, 'triggerfs-api')],
      ['revoked because the user is gone', signer.sign({ ...claims, sub: '999999' }, 'triggerfs-api')],
    ]);
  }
});
