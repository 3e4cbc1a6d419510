import assert from 'node:assert/strict';
import { createConnection } from 'node:net';
import { suite, test } from 'node:test';
import type { KeptInvocation } from '../../protocol/http/gateway-kept.ts';
import { payloadAad } from '../../runtime/acceptance/new-item.ts';
import { open } from '../../runtime/sealing/index.ts';
import { until } from '../support/wait.ts';
import { HookStage } from './hook-stage.ts';
import { KeptStage, OK, type Reply, reply } from './kept-stage.ts';

suite('accepted for later', () => {
  test('respond-async: committed, sealed, answered 202, and asked for by its address', async (t) => {
    const hooks = await HookStage.create(t);
    const kept = new KeptStage(hooks);
    const accepted = await kept.post({ prefer: 'respond-async' }, { args: { path: '/x' }, timeout: '7s' });
    const { id } = accepted.body as { id: string };
    assert.deepEqual([accepted.status, accepted.body], [202, { id, state: 'queued', existing: false }]);
    assert.equal(accepted.headers.get('location'), `/v1/invocations/${id}`);
    assert.equal(accepted.headers.get('preference-applied'), 'respond-async');
    const [item, ...others] = await kept.items();
    assert.equal(others.length, 0);
    assert.deepEqual(
      [item?.source, item?.caller, item?.service, item?.plugin, item?.args, item?.timeout_ms],
      ['http', 'alpha-owner', 'svc', 'echo', { path: '/x' }, 7000],
    );
    const { teamId } = hooks.stage.owner;
    assert.equal((await open(hooks.keys, teamId, payloadAad(teamId, id), item?.payload as Buffer)).toString(), 'hello');
    assert.equal(hooks.stage.worker.tasks.length, 0, 'the queue runs it, not this broker');
    const waiting = await kept.get(`/v1/invocations/${id}`);
    assert.deepEqual(
      [waiting.status, waiting.headers.get('retry-after'), waiting.body.state, waiting.body.result],
      [200, '1', 'queued', null],
    );
    assert.equal(waiting.body.service, 'alpha/svc');
    await kept.settle(id);
    const ended = (await kept.get(`/v1/invocations/${id}`)).body as unknown as KeptInvocation;
    assert.deepEqual([ended.state, ended.verdict, ended.exitCode, ended.result], ['done', 'ok', 0, OK]);
  });

  test('wait: the answer itself when it comes in time, 202 otherwise', async (t) => {
    const kept = new KeptStage(await HookStage.create(t));
    const begun = performance.now();
    const late = await kept.post({ prefer: 'respond-async, wait=1' });
    assert.deepEqual([late.status, late.headers.get('preference-applied')], [202, 'respond-async, wait=1']);
    assert.ok(performance.now() - begun >= 1000);
    const soon = kept.post({ prefer: 'respond-async; foo, wait="20"' }, { payload: 'two' });
    const item = await until(async () => (await kept.items())[1], { what: 'the second item' });
    await kept.settle(item.id);
    const { status, headers, body } = await soon;
    assert.deepEqual([status, body.invocation, body.output, body.verdict], [200, item.id, 'done\n', 'ok']);
    assert.equal(headers.get('x-triggerfs-verdict'), 'ok');
    const asking = kept.get(`/v1/invocations/${late.body.id}`, { prefer: 'wait=20' });
    await kept.settle(String(late.body.id), { ...OK, verdict: 'failed', exitCode: 3 }, 'dead');
    assert.deepEqual([(await asking).body.state, (await asking).body.exitCode], ['dead', 3]);
  });

  test('an idempotency key: one invocation, whose answer everybody gets; another request is refused', async (t) => {
    const kept = new KeptStage(await HookStage.create(t));
    const key = { 'idempotency-key': '"order-17"' };
    const waiting = [kept.post(key), kept.post(key), kept.post({ ...key, prefer: 'respond-async' })];
    const item = await until(async () => (await kept.items())[0], { what: 'the item' });
    await kept.settle(item.id, { ...OK, verdict: 'failed', exitCode: 4 }, 'dead');
    const [first, second, third] = await Promise.all(waiting);
    assert.deepEqual([first?.status, first?.body.exitCode, first?.body.invocation], [422, 4, item.id]);
    assert.deepEqual([second?.status, second?.body.invocation], [422, item.id]);
    assert.deepEqual([third?.status, third?.body.id], [202, item.id]);
    const again = await kept.post(key);
    assert.deepEqual([again.status, again.body.invocation, again.body.output], [422, item.id, 'done\n']);
    const late = await kept.post({ 'idempotency-key': 'order-17', prefer: 'respond-async' });
    assert.deepEqual([late.status, late.body], [202, { id: item.id, state: 'dead', existing: true }]);
    const other = await kept.post(key, { payload: 'another' });
    assert.deepEqual([other.status, other.body.code], [409, 'TFS_CONFLICT']);
    assert.equal((await kept.items()).length, 1);
  });

  test('an invocation that ends without running is a problem with its address', async (t) => {
    const kept = new KeptStage(await HookStage.create(t));
    const asked = kept.post({ 'idempotency-key': 'x' }, { timeout: '1s' });
    const item = await until(async () => (await kept.items())[0], { what: 'the item' });
    assert.equal(Number(item.max_age_ms), 31_000, 'it does not wait for tomorrow’s worker');
    await kept.settle(
      item.id,
      { ...OK, verdict: 'expired', exitCode: 75, error: 'TFS_EXPIRED', detail: 'too old', output: '', runs: [] },
      'expired',
    );
    const { status, headers, body } = await asked;
    assert.deepEqual([status, body.code, body.detail], [504, 'TFS_EXPIRED', 'too old']);
    assert.equal(headers.get('location'), `/v1/invocations/${item.id}`);
  });

  test('what the caller may not do is refused before it is kept', async (t) => {
    const hooks = await HookStage.create(t, { service: { plugins: ['echo'] } });
    const kept = new KeptStage(hooks);
    const { world } = hooks.stage;
    const guest = await world.addTeam('beta');
    await until(() => hooks.stage.broker.directory.team(guest.teamId), { what: 'the guest' });
    const prefer = { prefer: 'respond-async' };
    const cases: readonly (readonly [Promise<Reply>, number, string])[] = [
      [kept.post(prefer, { plugin: 'command/command' }), 403, 'TFS_PLUGIN_NOT_ALLOWED'],
      [kept.post(prefer, {}, 'alpha/nothing'), 404, 'TFS_UNKNOWN_SERVICE'],
      [kept.post(prefer, {}, 'beta/svc'), 403, 'TFS_WRONG_TEAM'],
      [kept.post({ ...prefer, authorization: `Bearer ${world.token(guest)}` }), 403, 'TFS_WRONG_TEAM'],
      [kept.post({ ...prefer, authorization: 'Bearer wrong' }), 401, 'TFS_UNAUTHENTICATED'],
      [kept.post({ ...prefer, 'idempotency-key': 'two words' }), 400, 'TFS_BAD_REQUEST'],
      [kept.post({ ...prefer, 'idempotency-key': 'x'.repeat(201) }), 400, 'TFS_BAD_REQUEST'],
      [kept.post({ ...prefer, 'idempotency-key': '' }), 400, 'TFS_BAD_REQUEST'],
      [kept.post(prefer, { timeout: 'soon' }), 400, 'TFS_BAD_TIMEOUT'],
    ];
    for (const [asked, status, code] of cases) assert.deepEqual([(await asked).status, (await asked).body.code], [status, code]);
    assert.deepEqual(await kept.items(), []);
  });

  test('a live answer with a key is refused where no output is kept', async (t) => {
    const hooks = await HookStage.create(t);
    await hooks.stage.world.sql.query("update triggerfs.services set history = 'meta'");
    await until(() => hooks.stage.broker.directory.team(hooks.stage.owner.teamId)?.services.get('svc')?.history === 'meta', {
      what: 'the setting',
    });
    const asked = await new KeptStage(hooks).post({ 'idempotency-key': 'x', accept: 'text/event-stream' });
    assert.deepEqual([asked.status, asked.body.code], [409, 'TFS_NOT_KEPT']);
  });

  test('whoever hangs up cancels nothing', async (t) => {
    const hooks = await HookStage.create(t);
    const kept = new KeptStage(hooks);
    const { hostname, port } = new URL(hooks.stage.broker.gatewayUrl);
    const socket = createConnection({ host: hostname, port: Number(port) });
    t.after(() => void socket.destroy());
    const body = JSON.stringify({ plugin: 'echo' });
    socket.write(
      `POST /v1/invoke/alpha/svc HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${hooks.stage.token}\r\nidempotency-key: k\r\n` +
        `content-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
    );
    const item = await until(async () => (await kept.items())[0], { what: 'the item' });
    socket.destroy();
    const { rows } = await hooks.stage.world.sql.query('select state, cancel_requested from triggerfs.queue_items');
    assert.deepEqual(rows, [{ state: 'queued', cancel_requested: false }]);
    await kept.settle(item.id);
    assert.equal((await kept.post({ 'idempotency-key': 'k' }, { payload: undefined })).status, 200);
  });
});

suite('who sees what was accepted', () => {
  test('its caller and admins of the team; for others it is not there', async (t) => {
    const hooks = await HookStage.create(t);
    const { world, owner, broker } = hooks.stage;
    const kept = new KeptStage(hooks);
    const [member, second] = [
      await world.addUser(owner.teamId, 'alpha', 'ann', 'member'),
      await world.addUser(owner.teamId, 'alpha', 'bob', 'member'),
    ];
    const stranger = await world.addTeam('beta');
    await until(() => broker.directory.team(owner.teamId)?.members.has(second.id) && broker.directory.team(stranger.teamId), {
      what: 'the people',
    });
    const bearer = (person: typeof member): Record<string, string> => ({ authorization: `Bearer ${world.token(person)}` });
    const { id } = (await kept.post({ prefer: 'respond-async', ...bearer(member) })).body as { id: string };
    const status = async (headers: Record<string, string>, path = `/v1/invocations/${id}`): Promise<number> =>
      (await kept.get(path, headers)).status;
    assert.deepEqual([await status(bearer(member)), await status(bearer(owner))], [200, 200]);
    assert.deepEqual([await status(bearer(second)), await status(bearer(stranger))], [404, 404]);
    assert.equal(await status({ authorization: 'Bearer wrong' }), 401);
    for (const path of ['/v1/invocations/nonsense', '/v1/invocations/018f3c3e-0000-7000-8000-000000000000', `/v1/invocations/${id}%20`]) {
      assert.equal(await status(bearer(owner), path), 404, path);
    }
    assert.equal(await status(bearer(second), `/v1/invocations/${id}/output`), 404);
  });

  test('without a token: whoever has the address with its key', async (t) => {
    const hooks = await HookStage.create(t, {
      service: { visibility: 'public', plugins: ['echo'], http: { anonymous: true, plugin: 'echo', rate: '100/s' } },
    });
    const { stage } = hooks;
    const ask = async (headers: Record<string, string>, body = 'x'): Promise<Reply> =>
      reply(await fetch(stage.url(), { method: 'POST', headers, body }));
    const accepted = await ask({ prefer: 'respond-async' });
    const location = accepted.headers.get('location') ?? '';
    const { id } = accepted.body as { id: string };
    assert.equal(accepted.status, 202);
    const status = async (path: string, headers: Record<string, string> = {}): Promise<number> =>
      (await reply(await fetch(stage.broker.gatewayUrl + path, { headers }))).status;
    assert.equal(await status(location), 200);
    const other = (await ask({ prefer: 'respond-async' })).body as { id: string };
    const [path = '', query = ''] = location.split('?');
    const wrong = [
      `${path}?${query.slice(0, -4)}AAAA`,
      location.replace(id, other.id),
      `${path}?team=${stage.owner.teamId}&key=`,
      `${path}?${query.replace(/team=\d+/, 'team=99')}`,
      `${path}?${query}&key=x`,
    ];
    for (const each of wrong) assert.equal(await status(each), 404, each);
    assert.equal(await status(path), 401);
    assert.equal(await status(location, { authorization: 'Bearer wrong' }), 401);
    // Strangers do not meet each other's keys, nor the team's.
    const [mine, team] = [
      await ask({ prefer: 'respond-async', 'idempotency-key': 'k' }),
      await new KeptStage(hooks).post({ prefer: 'respond-async', 'idempotency-key': 'k' }),
    ];
    assert.deepEqual([mine.body.existing, team.body.existing], [false, false]);
    const again = await ask({ prefer: 'respond-async', 'idempotency-key': 'k' });
    assert.deepEqual([again.body.id, again.body.existing], [mine.body.id, true]);
    const { rows } = await stage.world.sql.query("select source, caller from triggerfs.queue_items where caller = ''");
    assert.deepEqual(new Set(rows.map(({ source }) => source)), new Set(['http']));
    const preflight = await fetch(stage.broker.gatewayUrl + location, {
      method: 'OPTIONS',
      headers: { origin: 'https://x.example', 'access-control-request-method': 'GET' },
    });
    assert.deepEqual([preflight.status, preflight.headers.get('access-control-allow-origin')], [204, '*']);
  });
});
