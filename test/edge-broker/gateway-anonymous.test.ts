import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import type { ServiceConfig } from '../../edge-broker/directory/team.ts';
import { RateLimitedError, RateLimits } from '../../edge-broker/gateway/rate-limits.ts';
import { HTTP_DEFAULTS, type HttpSettings } from '../../protocol/http/gateway.ts';
import { networkOf } from '../../runtime/network.ts';
import { until } from '../support/wait.ts';
import { GatewayStage } from './gateway-stage.ts';

const OPEN = { visibility: 'public' as const, plugins: ['echo'] };

/** Asks without a token. */
async function ask(
  url: string,
  headers: Record<string, string> = {},
  body = 'hi',
): Promise<{ status: number; code: string | null; headers: Headers }> {
  const answer = await fetch(url, { method: 'POST', headers, body });
  const { code = null } = (await answer.json()) as { code?: string };
  return { status: answer.status, code, headers: answer.headers };
}

suite('callers without a token', () => {
  test('reach a public service that says so, by its plugins, and nothing else', async (t) => {
    const stage = await GatewayStage.create(t, { service: { ...OPEN, http: { anonymous: true } } });
    const { world, owner, people } = stage;
    await world.addService(owner, 'public', { ...OPEN, workers: people });
    await world.addService(owner, 'team', { workers: people });
    const other = await world.addTeam('beta');
    await world.addService(other, 'svc', { ...OPEN });
    await until(() => stage.broker.directory.team(other.teamId)?.services.has('svc'), { what: 'the services' });
    const plugin = { plugin: 'echo' };
    assert.equal((await ask(stage.url('alpha/svc', plugin))).status, 200);
    assert.equal(stage.worker.tasks[0]?.plan.caller, '');
    const refused: readonly (readonly [string, number, string])[] = [
      [stage.url('alpha/public', plugin), 401, 'TFS_UNAUTHENTICATED'],
      [stage.url('alpha/team', plugin), 401, 'TFS_UNAUTHENTICATED'],
      [stage.url('alpha/worker1', plugin), 401, 'TFS_UNAUTHENTICATED'],
      [stage.url('alpha/nothing', plugin), 401, 'TFS_UNAUTHENTICATED'],
      [stage.url('beta/svc', plugin), 401, 'TFS_UNAUTHENTICATED'],
      [stage.url('nobody/svc', plugin), 401, 'TFS_UNAUTHENTICATED'],
      [stage.url('alpha/svc', { plugin: 'command/command' }), 403, 'TFS_PLUGIN_NOT_ALLOWED'],
    ];
    for (const [url, status, code] of refused) {
      const answer = await ask(url);
      assert.deepEqual([answer.status, answer.code], [status, code], url);
    }
    // A wrong token is no missing one.
    assert.equal((await ask(stage.url('alpha/svc', plugin), { authorization: 'Bearer wrong' })).status, 401);
    assert.equal(stage.worker.tasks.length, 1);
  });

  test('are shut out when the service is closed to them', async (t) => {
    const stage = await GatewayStage.create(t, { service: { ...OPEN, http: { anonymous: true, plugin: 'echo' } } });
    assert.equal((await ask(stage.url())).status, 200);
    const { sql } = stage.world;
    await assert.rejects(sql.query("update triggerfs.services set visibility = 'team'"), /services_anonymous_is_public/);
    await assert.rejects(sql.query("update triggerfs.services set plugins = '{}'"), /services_anonymous_is_public/);
    await sql.query("update triggerfs.services set http = '{}'");
    await until(async () => (await ask(stage.url())).status === 401, { what: 'a token is needed' });
  });

  test('name no plugin where the service maps requests', async (t) => {
    const stage = await GatewayStage.create(t, {
      service: {
        visibility: 'public',
        plugins: ['echo', 'command/command'],
        http: { anonymous: true, plugin: 'echo', args: { who: 'query.plugin?' } },
      },
    });
    assert.equal((await ask(stage.url('alpha/svc', { plugin: 'command/command', 'args.x': '1' }))).status, 200);
    const [task] = stage.worker.tasks;
    assert.deepEqual([task?.plan.plugin, task?.plan.args], ['echo', { who: 'command/command' }]);
  });

  test('are limited by service and address, told when to come back, and limit nobody else', async (t) => {
    const http = { anonymous: true, plugin: 'echo', rate: '3/h' };
    const stage = await GatewayStage.create(t, { service: { ...OPEN, http }, settings: 'proxies = "127.0.0.1"' });
    await stage.world.addService(stage.owner, 'second', { ...OPEN, workers: stage.people, http });
    await until(() => stage.broker.directory.team(stage.owner.teamId)?.services.has('second'), { what: 'the second service' });
    const from = (address: string, service = 'alpha/svc'): ReturnType<typeof ask> =>
      ask(stage.url(service), { 'x-forwarded-for': address });
    for (let i = 0; i < 3; i += 1) assert.equal((await from('203.0.113.7')).status, 200);
    const refused = await from('203.0.113.7');
    assert.deepEqual([refused.status, refused.code], [429, 'TFS_RATE_LIMITED']);
    const wait = Number(refused.headers.get('retry-after'));
    assert.ok(wait > 1100 && wait <= 1200, String(wait));
    // What the client claims in front of the proxy does not count.
    assert.equal((await from('198.51.100.1, 203.0.113.7')).status, 429);
    assert.equal((await from('203.0.113.8')).status, 200);
    assert.equal((await from('203.0.113.7', 'alpha/second')).status, 200);
    assert.equal((await stage.post({ body: 'x' })).status, 200);
    for (const [i, address] of ['2001:db8:1:2::1', '2001:db8:1:2::ffff', '2001:db8:1:2:a:b:c:d', '2001:db8:1:2::9'].entries()) {
      assert.equal((await from(address)).status, i < 3 ? 200 : 429, address);
    }
    assert.equal((await from('2001:db8:1:3::1')).status, 200);
  });

  test('say nothing about addresses that the gateway believes without a trusted proxy', async (t) => {
    const stage = await GatewayStage.create(t, { service: { ...OPEN, http: { anonymous: true, plugin: 'echo', rate: '2/h' } } });
    const statuses = [];
    for (let i = 0; i < 4; i += 1) statuses.push((await ask(stage.url(), { 'x-forwarded-for': `203.0.113.${i}` })).status);
    assert.deepEqual(statuses, [200, 200, 429, 429]);
  });
});

suite('rate limits', () => {
  const service = (http: Partial<HttpSettings>, key = 's1'): ServiceConfig =>
    ({ key, name: 'svc', http: { ...HTTP_DEFAULTS, ...http } }) as ServiceConfig;

  test('fill up again as time goes by, up to the burst', () => {
    let now = 0;
    const limits = new RateLimits(() => now);
    const take = (address: string, http: Partial<HttpSettings> = { rate: '10/s' }): number => {
      try {
        limits.take(service(http), address);
        return 0;
      } catch (error) {
        assert.ok(error instanceof RateLimitedError);
        return error.retryAfter;
      }
    };
    for (let i = 0; i < 10; i += 1) assert.equal(take('a'), 0);
    assert.equal(take('a'), 1);
    now += 99;
    assert.equal(take('a'), 1);
    now += 2;
    assert.equal(take('a'), 0);
    assert.equal(take('a'), 1);
    now += 3_600_000;
    for (let i = 0; i < 10; i += 1) assert.equal(take('a'), 0);
    assert.equal(take('a'), 1, 'no more than the burst is saved up');
    const day = { rate: '1/d' };
    assert.deepEqual([take('b', day), take('b', day)], [0, 86_400]);
  });

  test('all addresses together have a limit of their own', () => {
    const limits = new RateLimits(() => 0);
    for (let i = 0; i < 5; i += 1) limits.take(service({ rateTotal: '5/m' }), `10.0.0.${i}`);
    assert.throws(() => limits.take(service({ rateTotal: '5/m' }), '10.0.0.99'), /svc takes 5\/m/);
    limits.take(service({ rateTotal: '5/m' }, 's2'), '10.0.0.99');
  });

  test('a flood of addresses costs bounded memory', () => {
    const limits = new RateLimits(() => 0);
    for (let i = 0; i < 300_000; i += 1) limits.take(service({ rateTotal: '999999/s' }), `10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`);
    assert.ok(limits.size <= 100_001, String(limits.size));
  });

  test('an IPv6 address counts as its /64, one that wraps IPv4 as that', () => {
    const table: readonly (readonly [string, string])[] = [
      ['203.0.113.7', '203.0.113.7'],
      ['::ffff:203.0.113.7', '203.0.113.7'],
      ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
      ['2001:db8:1:2::', '2001:db8:1:2::/64'],
      ['2001:DB8::1', '2001:db8:0:0::/64'],
      ['::1', '0:0:0:0::/64'],
      ['fe80::1%eth0', 'fe80:0:0:0::/64'],
      ['64:ff9b::203.0.113.7', '64:ff9b:0:0::/64'],
      ['nonsense', 'nonsense'],
    ];
    for (const [address, network] of table) assert.equal(networkOf(address), network);
  });
});
