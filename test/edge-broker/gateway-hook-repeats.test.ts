import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { suite, test } from 'node:test';
import { HookStage } from './hook-stage.ts';

const SECRET = 'a secret that nobody guesses';
const BODY = '{"build":"shop"}';
const TEXT = { 'content-type': 'application/json' };

function signed(body: string, extra: Record<string, string> = {}, time = ''): Record<string, string> {
  const content = time === '' ? body : `${time}.${body}`;
  return { ...TEXT, 'x-signature': createHmac('sha256', SECRET).update(content).digest('hex'), ...extra };
}

async function metric(hooks: HookStage, name: string): Promise<number> {
  const text = await (await fetch(`${hooks.stage.broker.gatewayUrl}/metrics`)).text();
  return Number(new RegExp(`^${name.replaceAll(/[{}]/g, '\\$&')} (.*)$`, 'm').exec(text)?.[1]);
}

suite('a signed request that is repeated', () => {
  test('runs nothing, whatever stands beside what is signed', async (t) => {
    const hooks = await HookStage.create(t);
    await hooks.addHook('build', { scheme: 'hmac' }, [SECRET]);
    const url = hooks.url('build');
    const first = await hooks.deliver(url, BODY, signed(BODY, { 'x-id': '1' }));
    assert.deepEqual([first.status, first.body.existing], [202, false]);
    for (const headers of [{}, { 'x-id': '2' }, { 'content-type': 'text/plain' }, { date: 'now' }]) {
      const again = await hooks.deliver(`${url}?x=${Object.keys(headers)}`, BODY, signed(BODY, headers));
      assert.deepEqual([again.status, again.body.id, again.body.existing], [202, first.body.id, true]);
    }
    assert.equal((await hooks.deliver(url, `${BODY} `, signed(`${BODY} `))).body.existing, false, 'another body is another delivery');
    assert.equal((await hooks.queued()).length, 2);
    assert.equal(await metric(hooks, 'triggerfs_webhooks_taken_total{result="kept"}'), 2);
    assert.equal(await metric(hooks, 'triggerfs_webhooks_taken_total{result="repeated"}'), 4);
  });

  test('runs nothing in a hook that answers at once', async (t) => {
    const hooks = await HookStage.create(t);
    await hooks.addHook('build', { scheme: 'hmac', mode: 'sync' }, [SECRET]);
    assert.equal((await hooks.deliver(hooks.url('build'), BODY, signed(BODY))).status, 200);
    const again = await hooks.deliver(hooks.url('build'), BODY, signed(BODY, { 'x-id': '2' }));
    assert.deepEqual([again.status, again.body.code], [409, 'TFS_CONFLICT']);
    assert.equal(hooks.stage.worker.tasks.length, 1);
    assert.equal(await metric(hooks, 'triggerfs_webhooks_taken_total{result="ran"}'), 1);
    assert.equal(await metric(hooks, 'triggerfs_webhooks_refused_total{reason="TFS_CONFLICT"}'), 1);
  });

  test('with a time: the same one again runs nothing, the same body at another time runs', async (t) => {
    const hooks = await HookStage.create(t);
    await hooks.addHook('build', { scheme: 'hmac', timestamp: 'x-time' }, [SECRET]);
    const now = Math.floor(Date.now() / 1000);
    const at = (time: number, id: string): ReturnType<HookStage['deliver']> =>
      hooks.deliver(hooks.url('build'), BODY, signed(BODY, { 'x-time': String(time), 'x-id': id }, String(time)));
    assert.deepEqual((await at(now, '1')).body.existing, false);
    assert.deepEqual((await at(now, '2')).body.existing, true);
    assert.deepEqual((await at(now - 1, '3')).body.existing, false);
    assert.equal((await at(now - 1000, '4')).status, 401);
    assert.equal((await hooks.queued()).length, 2);
    assert.equal(await metric(hooks, 'triggerfs_webhooks_refused_total{reason="stale"}'), 1);
  });

  test('runs again where the hook believes an id that is not signed, or says that every request counts', async (t) => {
    const hooks = await HookStage.create(t);
    await hooks.addHook('named', { scheme: 'hmac', delivery: 'x-id' }, [SECRET]);
    await hooks.addHook('each', { scheme: 'hmac', delivery: 'none' }, [SECRET]);
    const existing = async (hook: string, id: string): Promise<unknown> =>
      (await hooks.deliver(hooks.url(hook), BODY, signed(BODY, { 'x-id': id }))).body.existing;
    assert.deepEqual([await existing('named', '1'), await existing('named', '1'), await existing('named', '2')], [false, true, false]);
    assert.deepEqual([await existing('each', '1'), await existing('each', '1')], [false, false]);
  });

  test('GitHub’s button "Redeliver" gets the first answer', async (t) => {
    const hooks = await HookStage.create(t);
    await hooks.addHook('push', { scheme: 'github' }, [SECRET]);
    const signature = createHmac('sha256', SECRET).update(BODY).digest('hex');
    const headers = { ...TEXT, 'x-github-event': 'push', 'x-github-delivery': '72d3162e', 'x-hub-signature-256': `sha256=${signature}` };
    const first = await hooks.deliver(hooks.url('push'), BODY, headers);
    const again = await hooks.deliver(hooks.url('push'), BODY, headers);
    assert.deepEqual([again.status, again.body], [202, { ...first.body, existing: true }]);
    assert.equal(again.headers.get('location'), first.headers.get('location'));
  });
});

test('what is refused is counted by its reason, and who comes too often by the limit', async (t) => {
  const hooks = await HookStage.create(t, {
    service: { visibility: 'public', plugins: ['echo'], http: { anonymous: true, plugin: 'echo', rate: '1/d', rateTotal: '1/d' } },
  });
  await hooks.addHook('build', { scheme: 'hmac', args: { what: '$.what' } }, [SECRET]);
  const url = hooks.url('build');
  const { 'x-signature': _none, ...unsigned } = signed(BODY);
  const statuses = [
    await hooks.deliver(hooks.url('nothing'), BODY, signed(BODY)),
    await hooks.deliver(url, BODY, unsigned),
    await hooks.deliver(url, BODY, signed('another')),
    await hooks.deliver(url, BODY, signed(BODY)),
    await hooks.deliver(url, 'x'.repeat(5_000_000), signed(BODY)),
  ].map(({ status }) => status);
  assert.deepEqual(statuses, [401, 401, 401, 400, 413]);
  for (const reason of ['unknown', 'missing', 'wrong', 'TFS_BAD_ARGUMENT', 'TFS_TOO_LARGE']) {
    assert.equal(await metric(hooks, `triggerfs_webhooks_refused_total{reason="${reason}"}`), 1, reason);
  }
  assert.equal(await metric(hooks, 'triggerfs_webhooks_refused_total{reason="stale"}'), 0);
  const call = async (): Promise<number> => (await fetch(hooks.stage.url(), { method: 'POST', body: 'x' })).status;
  assert.deepEqual([await call(), await call()], [200, 429]);
  assert.equal(await metric(hooks, 'triggerfs_gateway_rate_limited_total{limit="address"}'), 1);
  assert.equal(await metric(hooks, 'triggerfs_gateway_rate_limited_total{limit="service"}'), 0);
  assert.equal(await metric(hooks, 'triggerfs_gateway_answers_total{status="429"}'), 1);
});
