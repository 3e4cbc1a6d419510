import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { before, suite, test } from 'node:test';
import { type Fixture, startFixture, suiteCleanup } from './fixture.ts';

suite('resources', () => {
  const cleanup = suiteCleanup();
  let api: Fixture;
  let token: string;

  before(async () => {
    api = await startFixture(cleanup);
    token = await api.tokenOf('owner');
  });

  async function create(noun: string, body: object): Promise<{ id: number; [key: string]: unknown }> {
    const answer = await api.call(`POST /v1/${noun}`, { token, body });
    assert.equal(answer.status, 201, `${noun} ${JSON.stringify(body)}: ${answer.body.detail}`);
    return answer.body as never;
  }

  test('a worker’s token is shown once and replaced by rotation', async () => {
    const worker = await create('workers', { identity: 'w1', description: 'first' });
    assert.match(String(worker.token), /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    assert.equal(worker.state, 'DISCONNECTED');
    const seen = await api.call('GET /v1/workers/W1', { token });
    assert.equal(seen.body.id, worker.id);
    assert.ok(!('token' in seen.body));
    const stored = await api.sql<{ token_hash: Buffer }>('select token_hash from triggerfs.workers');
    assert.ok(!JSON.stringify(stored).includes(String(worker.token)));
    const logIn = (secret: unknown): ReturnType<Fixture['call']> =>
      api.call('POST /v1/workers/login', { body: { team: 'a', identity: 'w1', token: secret } });
    const session = await logIn(worker.token);
    assert.equal(session.body.role, 'worker');
    const rotated = await api.call(`POST /v1/workers/${worker.id}/token`, { token });
    assert.equal((await logIn(worker.token)).body.code, 'TFS_BAD_CREDENTIALS');
    assert.equal((await api.call('GET /v1/whoami', { token: String(session.body.apiToken) })).body.code, 'TFS_REVOKED');
    assert.equal((await logIn(rotated.body.token)).status, 200);
    await api.call('PATCH /v1/workers/w1', { token, body: { identity: 'w1b', description: '' } });
    assert.equal((await api.call('GET /v1/workers/w1', { token })).status, 404);
    assert.equal((await api.call('DELETE /v1/workers/w1b', { token })).status, 204);
    assert.equal((await api.call('DELETE /v1/workers/w1b', { token })).status, 404);
  });

  test('workers are online while a living broker says so, and logins name only living brokers', async () => {
    const worker = await create('workers', { identity: 'online' });
    const [alive, dead] = [randomUUID(), randomUUID()];
    await api.sql(
      `insert into triggerfs.brokers (id, endpoint, public_key, region, beat_at)
       values ($1, 'tcp://127.0.0.1:1', repeat('a', 40), 'eu', now()), ($2, 'tcp://127.0.0.1:2', repeat('b', 40), 'us', now() - interval '5 min')`,
      [alive, dead],
    );
    const presence = (broker: string): Promise<unknown> =>
      api.sql(
        `insert into triggerfs.presence (worker_id, broker_id, team_id, concurrency, running, version, plugins)
         select $1, $2, team_id, 8, 3, '1.0', '{echo}' from triggerfs.workers where id = $1`,
        [worker.id, broker],
      );
    await presence(dead);
    assert.equal((await api.call('GET /v1/workers/online', { token })).body.state, 'DISCONNECTED');
    await presence(alive);
    const seen = await api.call('GET /v1/workers/online', { token });
    assert.deepEqual(
      [seen.body.state, seen.body.concurrency, seen.body.running, seen.body.version, seen.body.plugins],
      ['ONLINE', 8, 3, '1.0', ['echo']],
    );
    const brokers = (await api.call('GET /v1/brokers', { token })).body.items as unknown as { id: string; state: string }[];
    assert.deepEqual(
      brokers.map((broker) => [broker.id, broker.state]),
      [
        [alive, 'up'],
        [dead, 'down'],
      ],
    );
    assert.deepEqual((await api.logIn('owner')).brokers, [
      { id: alive, endpoint: 'tcp://127.0.0.1:1', publicKey: 'a'.repeat(40), region: 'eu' },
    ]);
    const elsewhere = await api.call('POST /v1/workers/login', {
      body: { team: 'a', identity: 'online', token: worker.token, region: 'us' },
    });
    assert.deepEqual(elsewhere.body.brokers, []);
    await api.sql(`update triggerfs.brokers set beat_at = beat_at - interval '10 min'`);
    assert.deepEqual(
      (await api.logIn('owner')).brokers.map((broker) => broker.id),
      [alive],
      'after an outage of the database',
    );
  });

  test('services: settings, workers in attach order, allowed plugins', async () => {
    for (const identity of ['m1', 'm2', 'm3']) await create('workers', { identity });
    const settings = {
      algorithm: 'serial',
      timeoutMs: 1500,
      window: '25%',
      maxErrors: '0',
      failover: 'always',
      queueLimit: 5,
      queueConcurrency: 7,
      visibility: 'team',
      plugins: ['command/command'],
      history: 'output',
    };
    const service = await create('services', { name: 'rolling', description: 'upgrades', ...settings });
    for (const [key, value] of Object.entries(settings)) assert.deepEqual(service[key], value, key);
    for (const worker of ['m2', 'm3', 'm1']) await api.call('POST /v1/services/rolling/workers', { token, body: { worker } });
    const members = async (): Promise<unknown> =>
      ((await api.call('GET /v1/services/rolling/workers', { token })).body.items as unknown as { order: number; worker: string }[]).map(
        ({ order, worker }) => `${order} ${worker}`,
      );
    assert.deepEqual(await members(), ['1 m2', '2 m3', '3 m1']);
    assert.equal((await api.call('POST /v1/services/rolling/workers', { token, body: { worker: 'm3' } })).body.code, 'TFS_CONFLICT');
    assert.equal((await api.call('DELETE /v1/services/rolling/workers/m3', { token })).status, 204);
    assert.equal((await api.call('DELETE /v1/services/rolling/workers/m3', { token })).status, 404);
    assert.deepEqual(await members(), ['1 m2', '2 m1']);
    assert.deepEqual((await api.call('GET /v1/services/rolling', { token })).body.workers, ['m2', 'm1']);
    assert.deepEqual((await api.call('GET /v1/workers/m2', { token })).body.services, ['rolling']);

    assert.equal((await api.call('PATCH /v1/services/rolling', { token, body: { visibility: 'public' } })).status, 200);
    const refused = await api.call('PATCH /v1/services/rolling', { token, body: { plugins: null } });
    assert.deepEqual([refused.status, refused.body.code], [409, 'TFS_CONFLICT']);
    assert.match(refused.body.detail, /public service needs/);
    assert.deepEqual((await api.call('POST /v1/services/rolling/plugins', { token, body: { plugin: 'echo' } })).body.plugins, [
      'command/command',
      'echo',
    ]);
    assert.equal((await api.call('DELETE /v1/services/rolling/plugins/command%2Fcommand', { token })).status, 204);
    assert.deepEqual((await api.call('GET /v1/services/rolling', { token })).body.plugins, ['echo']);
    const open = await api.call('POST /v1/services', { token, body: { name: 'open', visibility: 'public' } });
    assert.equal(open.body.code, 'TFS_CONFLICT');
    assert.equal((await api.call('GET /v1/services/open', { token })).status, 404, 'the failed creation left nothing');
  });

  test('a service and a worker cannot share a name', async () => {
    await create('services', { name: 'taken' });
    const answer = await api.call('POST /v1/workers', { token, body: { identity: 'TAKEN' } });
    assert.deepEqual([answer.status, answer.body.code], [409, 'TFS_CONFLICT']);
    assert.match(answer.body.detail, /used by a service/);
    await create('workers', { identity: 'taken2' });
    assert.equal((await api.call('POST /v1/services', { token, body: { name: 'taken2' } })).status, 409);
    assert.equal((await api.call('PATCH /v1/services/taken', { token, body: { name: 'Taken2' } })).status, 409);
  });

  test('a name wins over an id that looks the same', async () => {
    const first = await create('services', { name: 'numbered' });
    await create('services', { name: String(first.id) });
    assert.equal((await api.call(`GET /v1/services/${first.id}`, { token })).body.name, String(first.id));
    await api.call(`DELETE /v1/services/${first.id}`, { token });
    assert.equal((await api.call(`GET /v1/services/${first.id}`, { token })).body.name, 'numbered');
  });

  test('directories: parents, emptiness, moving with everything in it', async () => {
    assert.equal((await api.call('POST /v1/directories', { token, body: { path: '/x/y' } })).status, 404);
    for (const path of ['/x', '/x/y', '/x/y/z', '/x-ray', '/target']) await create('directories', { path });
    assert.equal((await api.call('POST /v1/directories', { token, body: { path: '/x' } })).body.code, 'TFS_CONFLICT');
    const trigger = await create('triggers', { path: '/x/y/t', plugin: 'echo' });
    assert.equal((await api.call('DELETE /v1/directories/%2Fx', { token })).status, 409);
    const occupied = await api.call('DELETE /v1/directories/%2Fx%2Fy', { token });
    assert.equal(occupied.status, 409);
    assert.match(occupied.body.detail, /not empty/);
    assert.equal((await api.call('PATCH /v1/directories/%2Fx', { token, body: { path: '/x/y/inside' } })).body.code, 'TFS_BAD_REQUEST');
    assert.equal((await api.call('PATCH /v1/directories/%2Fx', { token, body: { path: '/target' } })).body.code, 'TFS_CONFLICT');
    assert.equal((await api.call('PATCH /v1/directories/%2Fx', { token, body: { path: '/missing/x' } })).status, 404);
    const moved = await api.call('PATCH /v1/directories/%2Fx', { token, body: { path: '/target/x', mode: 0o700 } });
    assert.deepEqual([moved.body.path, moved.body.mode], ['/target/x', 0o700]);
    assert.equal((await api.call(`GET /v1/triggers/${trigger.id}`, { token })).body.path, '/target/x/y/t');
    const tree = (await api.call('GET /v1/tree', { token })).body.directories as unknown as { path: string }[];
    assert.deepEqual(
      tree.map((directory) => directory.path),
      ['/target', '/target/x', '/target/x/y', '/target/x/y/z', '/x-ray'],
    );
    await api.call(`DELETE /v1/triggers/${trigger.id}`, { token });
    for (const path of ['/target/x/y/z', '/target/x/y', '/target/x', '/target', '/x-ray']) {
      assert.equal((await api.call(`DELETE /v1/directories/${encodeURIComponent(path)}`, { token })).status, 204, path);
    }
  });

  test('triggers: rule, renaming and moving, hits, names and paths', async () => {
    await create('services', { name: 'svc', visibility: 'team', timeoutMs: 7000 });
    for (const path of ['/one', '/two']) await create('directories', { path });
    const rule = {
      plugin: 'command/command',
      service: 'svc',
      args: { key: 'value' },
      timeoutMs: null,
      framing: 'line',
      durability: 'fsync',
      mode: 0o600,
      visibility: 'team',
    };
    const trigger = await create('triggers', { path: '/one/run', description: 'runs', ...rule });
    for (const [key, value] of Object.entries(rule)) assert.deepEqual(trigger[key], value, key);
    assert.deepEqual([trigger.name, trigger.hits, trigger.lastHitAt, trigger.owner], ['run', 0, null, 'owner-a']);
    await api.sql(
      'insert into triggerfs.trigger_hits (trigger_id, team_id, hits) select id, team_id, 41 from triggerfs.triggers where id = $1',
      [trigger.id],
    );
    const before = (await api.call('GET /v1/tree', { token })).body;
    const inTree = (before.triggers as unknown as { path: string; hits: number; timeoutMs: number }[])[0];
    assert.deepEqual([inTree?.path, inTree?.hits, inTree?.timeoutMs], ['/one/run', 41, 7000]);
    assert.deepEqual((await api.call('GET /v1/services/svc', { token })).body.triggers, ['/one/run']);
    assert.equal((await api.call('PATCH /v1/triggers/run', { token, body: { path: '/two/ran', args: {} } })).body.path, '/two/ran');
    const after = (await api.call('GET /v1/tree', { token })).body;
    assert.ok(Number(after.version) > Number(before.version), 'a change raises the version');
    await create('triggers', { path: '/one/ran' });
    assert.equal((await api.call('GET /v1/triggers/ran', { token })).body.code, 'TFS_CONFLICT');
    assert.equal((await api.call('GET /v1/triggers/%2Ftwo%2Fran', { token })).body.id, trigger.id);
    assert.equal((await api.call('GET /v1/triggers/two%2Fran', { token })).body.id, trigger.id);
    assert.equal((await api.call('PATCH /v1/triggers/%2Fone%2Fran', { token, body: { path: '/two/ran' } })).body.code, 'TFS_CONFLICT');
    assert.equal((await api.call('POST /v1/directories', { token, body: { path: '/two/ran' } })).body.code, 'TFS_CONFLICT');
    assert.equal((await api.call('POST /v1/triggers', { token, body: { path: '/two' } })).body.code, 'TFS_BAD_REQUEST');
    assert.equal((await api.call('DELETE /v1/services/svc', { token })).status, 204);
    assert.equal((await api.call(`GET /v1/triggers/${trigger.id}`, { token })).body.service, null);
    await create('workers', { identity: 'just-a-worker' });
    const worker = await api.call(`PATCH /v1/triggers/${trigger.id}`, { token, body: { service: 'just-a-worker' } });
    assert.equal(worker.body.code, 'TFS_UNKNOWN_SERVICE');
  });

  test('API tokens act within their scopes and end with their deletion', async () => {
    const made = await create('tokens', { name: 'ci', scopes: ['read'] });
    const secret = String(made.token);
    assert.match(secret, /^tfs_[A-Za-z0-9_-]{43}$/);
    assert.deepEqual((await api.call('GET /v1/whoami', { token: secret })).body.scopes, ['read']);
    const listed = (await api.call('GET /v1/tokens', { token })).body.items as unknown as object[];
    assert.ok(listed.length === 1 && !JSON.stringify(listed).includes(secret));
    const session = await api.call('POST /v1/renew', { token: secret });
    const access = String(session.body.apiToken);
    assert.deepEqual((await api.call('GET /v1/whoami', { token: access })).body.scopes, ['read']);
    assert.equal((await api.call('POST /v1/services', { token: access, body: { name: 'no' } })).body.code, 'TFS_FORBIDDEN');
    assert.equal((await api.call('POST /v1/renew', { token: access })).body.code, 'TFS_FORBIDDEN');
    assert.equal((await api.call('DELETE /v1/tokens/ci', { token })).status, 204);
    assert.equal((await api.call('GET /v1/whoami', { token: secret })).body.code, 'TFS_UNAUTHENTICATED');
    assert.equal((await api.call('GET /v1/whoami', { token: access })).body.code, 'TFS_REVOKED');
    const past = await api.call('POST /v1/tokens', { token, body: { name: 'old', expiresAt: '2001-01-01T00:00:00Z' } });
    assert.equal(past.status, 400);
    const soon = await create('tokens', { name: 'soon', expiresAt: new Date(Date.now() + 5_000).toISOString() });
    const short = await api.call('POST /v1/renew', { token: String(soon.token) });
    assert.ok(Number(short.body.expiresAt) <= Math.ceil(Date.now() / 1000) + 5, 'a session ends with its API token');
  });
});
