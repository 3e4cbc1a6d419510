import assert from 'node:assert/strict';
import { before, suite, test } from 'node:test';
import pg from 'pg';
import { HOOK_DEFAULTS, HTTP_DEFAULTS } from '../../protocol/http/gateway.ts';
import { MasterKey, open, TeamKeys } from '../../runtime/sealing/index.ts';
import { masterKeyFile } from '../support/master-key.ts';
import { type Answer, type Fixture, startFixture, suiteCleanup } from './fixture.ts';

const SECRET = 'canary-51c2-not-to-be-seen';
const WEB = [
  'set services name web',
  'set services web plugins add echo',
  'set services web visibility public',
  'set services web http methods get,post',
  'set services web http plugin echo',
  'set services web http payload form.Body',
  'set services web http map from=form.From',
  'set services web http map lang=query.lang',
  'set services web http anonymous on',
  'set services web http rate 10/s',
  'set services web http origins https://a.example,https://b.example',
  'set services web http credentials on',
  'set services web http answer raw text/html',
  'set services web http status 4=404',
  'set services web http header "cache-control=max-age=60, public"',
  'set services web http hook push',
  'set services web http hook push scheme github',
  'set services web http hook push map "repo=$.repository.full_name"',
  'set services web http hook sms',
  'set services web http hook sms scheme twilio',
  'set services web http hook sms mode sync',
  'set services web http hook sms tolerance 60s',
];

suite('HTTP settings and webhooks', () => {
  const cleanup = suiteCleanup();
  let api: Fixture;
  let owner: string;

  before(async () => {
    api = await startFixture(cleanup);
    owner = await api.tokenOf('owner');
    await api.sql("update triggerfs.teams set plan = 'unlimited'");
  });

  const call = (route: string, body?: unknown, token = owner): Promise<Answer> =>
    api.call(route, { token, ...(body === undefined ? {} : { body }) });
  const commit = (commands: readonly string[], token = owner): Promise<Answer> =>
    call('POST /v1/configuration/commit', { commands }, token);
  const text = async (token = owner): Promise<readonly string[]> =>
    (await api.call('GET /v1/configuration', { token })).body.commands as unknown as readonly string[];
  const web = async (): Promise<readonly string[]> =>
    (await text()).filter((command) => /services (name )?web( |$)/.test(command) && !command.includes(' history '));

  async function fresh(name: string, settings: object = {}): Promise<void> {
    const made = await call('POST /v1/services', { name, visibility: 'team', ...settings });
    assert.equal(made.status, 201, made.body.detail);
  }

  test('a new service has the defaults; changes are merged, and null goes back', async () => {
    await fresh('merge', { plugins: ['echo'], http: { methods: ['GET'] } });
    const http = async (): Promise<unknown> => (await call('GET /v1/services/merge')).body.http;
    assert.deepEqual(await http(), { ...HTTP_DEFAULTS, methods: ['GET'] });
    await call('PATCH /v1/services/merge', { http: { args: { a: '$.a', b: 'query.b' }, statuses: { '3': 404 } } });
    await call('PATCH /v1/services/merge', { http: { args: { a: null, c: 'const:x' }, methods: null, rate: '5/s' } });
    assert.deepEqual(await http(), { ...HTTP_DEFAULTS, args: { b: 'query.b', c: 'const:x' }, statuses: { '3': 404 }, rate: '5/s' });
    await call('PATCH /v1/services/merge', { http: { args: null, statuses: null, rate: '60/m' } });
    assert.deepEqual(await http(), HTTP_DEFAULTS);
    assert.deepEqual(await api.sql("select http from triggerfs.services where name = 'merge'"), [{ http: {} }]);
  });

  test('what does not go together, or is not understood, is refused', async () => {
    await fresh('strict', { plugins: ['echo'] });
    const wrong: readonly (readonly [object, string, RegExp])[] = [
      [{ anonymous: true }, 'TFS_CONFLICT', /has to be public/],
      [{ origins: ['*'], credentials: true }, 'TFS_BAD_REQUEST', /do not go together/],
      [{ origins: ['https://a.example/path'] }, 'TFS_BAD_REQUEST', /origins/],
      [{ origins: ['https://A.example'] }, 'TFS_BAD_REQUEST', /origins/],
      [{ args: { a: '$..x' } }, 'TFS_BAD_REQUEST', /no place in a request/],
      [{ args: { a: 'header.authorization' } }, 'TFS_BAD_REQUEST', /secret of the caller/],
      [{ args: { a: '$.a', b: 'form.b' } }, 'TFS_BAD_REQUEST', /only one of them/],
      [{ args: { 'a b': '$.a' } }, 'TFS_BAD_REQUEST', /args/],
      [{ headers: { 'set-cookie': 'a=b' } }, 'TFS_BAD_REQUEST', /not for services to set/],
      [{ headers: { 'content-length': '1' } }, 'TFS_BAD_REQUEST', /not for services to set/],
      [{ headers: { 'x-a': 'a\r\nx-b: c' } }, 'TFS_BAD_REQUEST', /headers/],
      [{ contentType: 'text/html\r\nx: y' }, 'TFS_BAD_REQUEST', /contentType/],
      [{ statuses: { '3': 100 } }, 'TFS_BAD_REQUEST', /statuses/],
      [{ methods: [] }, 'TFS_BAD_REQUEST', /methods/],
      [{ methods: ['CONNECT'] }, 'TFS_BAD_REQUEST', /methods/],
      [{ rate: '0/s' }, 'TFS_BAD_REQUEST', /rate/],
      [{ plugin: '../x' }, 'TFS_BAD_REQUEST', /plugin/],
      [{ args: Object.fromEntries(Array.from({ length: 65 }, (_, n) => [`a${n}`, '$.a'])) }, 'TFS_BAD_REQUEST', /at most 64/],
      [{ unknown: 1 }, 'TFS_BAD_REQUEST', /http/],
    ];
    for (const [http, code, message] of wrong) {
      const { status, body } = await call('PATCH /v1/services/strict', { http });
      assert.equal(body.code, code, `${JSON.stringify(http)}: ${status} ${body.detail}`);
      assert.match(body.detail, message, JSON.stringify(http));
    }
    assert.deepEqual((await call('GET /v1/services/strict')).body.http, HTTP_DEFAULTS);
  });

  test('the text says all of it, loads again, and a rollback brings it back without secrets', async () => {
    const made = await commit(WEB);
    assert.equal(made.status, 200, made.body.detail);
    const notices = (made.body.results as unknown as { notice: string | null }[])
      .map(({ notice }) => notice)
      .filter((notice) => notice !== null);
    assert.deepEqual(notices, [
      'web allowed every plugin before, and allows only echo now',
      'the hook push needs a secret: request service web hook push secret',
      'the hook sms needs a secret: request service web hook sms secret',
    ]);
    assert.deepEqual(await web(), WEB);
    await call('POST /v1/services/web/hooks/push/secret', { secret: SECRET });
    const again = await commit(WEB);
    assert.equal(again.status, 200, again.body.detail);
    assert.deepEqual(await web(), WEB);
    const changed = await commit([
      'delete services web http map lang',
      'delete services web http status',
      'delete services web http anonymous',
      'delete services web http hook sms',
      'delete services web http hook push map',
      'set services web http hook push mode sync',
      'set services web http hook push plugin echo',
    ]);
    assert.equal(changed.status, 200, changed.body.detail);
    assert.equal((await web()).includes('set services web http hook push mode sync'), true);
    assert.equal(
      (await web()).some((command) => / sms|lang|404|anonymous/.test(command)),
      false,
    );
    const back = await call('POST /v1/configuration/rollback', { number: 1 });
    assert.deepEqual(back.body.notices, ['the hook sms needs a secret: request service web hook sms secret']);
    assert.deepEqual(await web(), WEB);
    const hooks = (await call('GET /v1/services/web/hooks')).body.items as unknown as { name: string; secrets: number }[];
    assert.deepEqual(
      hooks.map(({ name, secrets }) => [name, secrets]),
      [
        ['push', 1],
        ['sms', 0],
      ],
    );
    await commit(['delete services web']);
    await call('POST /v1/configuration/rollback', { number: 1 });
    assert.deepEqual(await web(), WEB);
    await commit(['delete services web http', 'delete services web']);
    for (const table of ['configuration_commits', 'configuration_snapshots']) {
      const rows = await api.sql<{ row: string }>(`select to_jsonb(t)::text as row from triggerfs.${table} t`);
      assert.equal(
        rows.some(({ row }) => row.includes(SECRET)),
        false,
        table,
      );
    }
  });

  test('a rollback finds a hook again that another service has taken', async () => {
    await commit([
      'set services name one',
      'set services name two',
      'set services one http hook moved',
      'set services one http hook moved scheme slack',
    ]);
    await commit([
      'delete services one http hook moved',
      'set services two http hook moved',
      'set services two http hook moved scheme github',
    ]);
    await commit(['delete services two']);
    const back = await call('POST /v1/configuration/rollback', { number: 2 });
    assert.equal(back.status, 200, back.body.detail);
    const about = (await text()).filter((command) => command.includes('hook moved'));
    assert.deepEqual(about, ['set services one http hook moved', 'set services one http hook moved scheme slack']);
    await commit(['delete services one', 'delete services two']);
  });

  test('hooks: made, changed, found and deleted; a name belongs to one service of the team', async () => {
    await fresh('a1');
    await fresh('a2');
    const made = await call('PUT /v1/services/a1/hooks/gh', { scheme: 'github', args: { x: '$.x' } });
    assert.equal(made.status, 201);
    const { id: _id, createdAt: _created, updatedAt: _updated, ...view } = made.body;
    assert.deepEqual(view, {
      ...HOOK_DEFAULTS,
      name: 'gh',
      service: 'a1',
      path: '/v1/hooks/a/gh',
      secrets: 0,
      scheme: 'github',
      args: { x: '$.x' },
    });
    const changed = await call('PUT /v1/services/a1/hooks/GH', { args: { y: 'query.y' }, mode: 'sync' });
    assert.deepEqual(
      [changed.status, changed.body.args, changed.body.mode, changed.body.name],
      [200, { x: '$.x', y: 'query.y' }, 'sync', 'gh'],
    );
    assert.deepEqual((await call('PUT /v1/services/a1/hooks/gh', { args: { x: null }, mode: null })).body.args, { y: 'query.y' });
    const taken = await call('PUT /v1/services/a2/hooks/gh', {});
    assert.deepEqual([taken.status, taken.body.detail], [409, 'another service of the team has a hook of this name']);
    for (const body of [
      { scheme: 'none' },
      { args: { a: '$..' } },
      { toleranceMs: 1 },
      { header: 'X Y' },
      { url: 'ftp://x' },
      { secret: 'x' },
    ]) {
      assert.equal((await call('PUT /v1/services/a1/hooks/gh', body)).status, 400, JSON.stringify(body));
    }
    assert.equal((await call('PUT /v1/services/a1/hooks/..', {})).status, 404);
    assert.equal((await call('DELETE /v1/services/a2/hooks/gh')).status, 404);
    assert.equal((await call('DELETE /v1/services/a1/hooks/gh')).status, 204);
    assert.equal((await call('PUT /v1/services/a2/hooks/gh', {})).status, 201);
  });

  test('secrets are sealed, replace each other, and are shown only when they are made here', async () => {
    await fresh('keys');
    await call('PUT /v1/services/keys/hooks/k', {});
    const secret = (body: object): Promise<Answer> => call('POST /v1/services/keys/hooks/k/secret', body);
    const count = async (): Promise<unknown> =>
      ((await call('GET /v1/services/keys/hooks')).body.items as unknown as { secrets: number }[])[0]?.secrets;
    assert.deepEqual((await secret({ secret: SECRET })).body, { hook: 'k', secret: null });
    assert.equal(await count(), 1);
    const made = (await secret({})).body.secret as unknown as string;
    assert.match(made, /^[0-9a-f]{64}$/);
    assert.equal(await count(), 2);
    await secret({});
    assert.equal(await count(), 2, 'one before, not two');
    const last = (await secret({ keepPreviousMinutes: 0 })).body.secret as unknown as string;
    assert.equal(await count(), 1);
    const rows = await api.sql<{ id: string; team_id: number; hook_id: number; sealed: Buffer }>(
      "select * from triggerfs.hook_secrets where hook_id = (select id from triggerfs.hooks where name = 'k')",
    );
    const [row] = rows as [(typeof rows)[number]];
    assert.equal(row.sealed.includes(last), false);
    const client = new pg.Client({ connectionString: api.databaseUrl });
    await client.connect();
    const store = client as unknown as ConstructorParameters<typeof TeamKeys>[0];
    const keys = new TeamKeys(store, await MasterKey.load(masterKeyFile(), store));
    const aad = `hook-secret|${row.team_id}|${row.hook_id}|${row.id}`;
    assert.equal((await open(keys, row.team_id, aad, row.sealed)).toString(), last);
    await assert.rejects(open(keys, row.team_id, aad.replace(/\|\d+\|/, '|99|'), row.sealed), { code: 'TFS_SEALED' });
    await client.end();
    for (const body of [
      { secret: 'abc' },
      { secret: 'whsec_' },
      { secret: 'whsec_====' },
      { secret: '        ' },
      { secret: 'x'.repeat(513) },
      { keepPreviousMinutes: -1 },
      { other: 1 },
    ])
      assert.equal((await secret(body)).status, 400);
  });

  test('members change what is theirs, others see and change nothing', async () => {
    await fresh('ours');
    await call('PUT /v1/services/ours/hooks/h1', {});
    const [member, viewer, stranger] = [await api.tokenOf('member'), await api.tokenOf('viewer'), await api.tokenOf('owner', 'b')];
    for (const [token, status] of [
      [member, 403],
      [viewer, 403],
      [stranger, 404],
    ] as const) {
      assert.equal((await call('PUT /v1/services/ours/hooks/h1', {}, token)).status, status);
      assert.equal((await call('POST /v1/services/ours/hooks/h1/secret', {}, token)).status, status);
      assert.equal((await commit(['set services ours http rate 1/s'], token)).status, status);
      assert.equal((await commit(['delete services ours http hook h1'], token)).status, status);
    }
    assert.equal((await call('GET /v1/services/ours/hooks', undefined, stranger)).status, 404);
    assert.equal((await call('POST /v1/services', { name: 'mine' }, member)).status, 201);
    assert.equal((await call('PUT /v1/services/mine/hooks/h2', {}, member)).status, 201);
    assert.equal((await call('POST /v1/services/mine/hooks/h2/secret', {}, member)).status, 200);
    assert.equal((await call('POST /v1/services', { name: 'theirs' }, stranger)).status, 201);
    assert.equal((await call('PUT /v1/services/theirs/hooks/h1', {}, stranger)).status, 201, 'names are the team’s own');
    assert.equal(
      (await text(stranger)).some((command) => command.includes('ours')),
      false,
    );
  });
});
