import assert from 'node:assert/strict';
import { type ClientRequest, request } from 'node:http';
import { suite, test } from 'node:test';
import { Verdict } from '../../protocol/verdicts.ts';
import { randomNumbers } from '../support/random.ts';
import { until } from '../support/wait.ts';
import { GatewayStage } from './gateway-stage.ts';

const ORIGIN = 'https://app.example.com';

suite('methods', () => {
  test('a service takes the methods that it allows, and tells which those are', async (t) => {
    const stage = await GatewayStage.create(t, { service: { http: { methods: ['GET', 'POST'] } } });
    const ask = (method: string, query = '?plugin=echo'): Promise<Response> =>
      fetch(`${stage.broker.gatewayUrl}/v1/invoke/alpha/svc${query}`, { method, headers: { authorization: `Bearer ${stage.token}` } });
    assert.equal((await ask('GET')).status, 200);
    assert.equal((await ask('POST')).status, 200);
    const head = await ask('HEAD');
    assert.deepEqual([head.status, head.headers.get('x-triggerfs-verdict'), await head.text()], [200, 'ok', '']);
    const put = await ask('PUT');
    const problem = (await put.json()) as { code: string; detail: string };
    assert.deepEqual([put.status, put.headers.get('allow'), problem.code], [405, 'GET, POST, HEAD, OPTIONS', 'TFS_METHOD']);
    assert.match(problem.detail, /PUT is not for this address/);
    const options = await ask('OPTIONS');
    assert.deepEqual([options.status, options.headers.get('allow')], [204, 'GET, POST, HEAD, OPTIONS']);
    assert.equal(stage.worker.tasks.length, 3);
  });

  test('addresses that take one method say so; others are not there', async (t) => {
    const { broker } = await GatewayStage.create(t);
    const table: readonly (readonly [string, string, number, string | null])[] = [
      ['GET', '/v1/hooks/alpha/push', 405, 'POST'],
      ['POST', '/v1/invocations/018f3c3e-0000-7000-8000-000000000000', 405, 'GET, HEAD, OPTIONS'],
      ['DELETE', '/metrics', 405, 'GET, HEAD'],
      ['GET', '/v1/hooks/alpha', 404, null],
      ['GET', '/v1/invoke/alpha', 404, null],
    ];
    for (const [method, path, status, allow] of table) {
      const answer = await fetch(`${broker.gatewayUrl}${path}`, { method });
      assert.deepEqual([answer.status, answer.headers.get('allow')], [status, allow], `${method} ${path}`);
      assert.match(answer.headers.get('content-type') ?? '', /^application\/problem\+json/);
      await answer.arrayBuffer();
    }
  });

  test('a caller who may not know the service learns no methods', async (t) => {
    const stage = await GatewayStage.create(t, { service: { http: { methods: ['GET'] } } });
    const guest = await stage.world.addTeam('beta');
    await until(() => stage.broker.directory.team(guest.teamId), { what: 'the guest' });
    const url = stage.url('alpha/svc', { plugin: 'echo' });
    const asked = await fetch(url, { method: 'POST', headers: { authorization: `Bearer ${stage.world.token(guest)}` } });
    assert.equal(asked.status, 403);
    assert.equal((await fetch(url)).status, 401);
  });
});

suite('answers of a service', () => {
  test('raw: what the plugin prints is the page, its exit code the status', async (t) => {
    const http = {
      methods: ['GET' as const, 'POST' as const],
      plugin: 'echo',
      answer: 'raw' as const,
      contentType: 'text/html; charset=utf-8',
      statuses: { '3': 404, '4': 302, '5': 204 },
      headers: { 'cache-control': 'public, max-age=60', location: '/elsewhere' },
    };
    const stage = await GatewayStage.create(t, {
      service: { http },
      onTask: (task) => {
        task.started();
        task.output('<h1>héllo</h1>');
        task.output('not for the page', true);
        const code = Number(task.payload.toString() || '0');
        task.result(code === 0 ? Verdict.ok : Verdict.failed, code);
      },
    });
    const page = async (body: string, headers: Record<string, string> = {}): Promise<[number, string, Headers]> => {
      const answer = await fetch(stage.url(), {
        method: 'POST',
        redirect: 'manual',
        headers: { authorization: `Bearer ${stage.token}`, ...headers },
        body,
      });
      return [answer.status, await answer.text(), answer.headers];
    };
    const [status, text, headers] = await page('');
    assert.deepEqual([status, text], [200, '<h1>héllo</h1>']);
    assert.equal(headers.get('content-type'), 'text/html; charset=utf-8');
    assert.equal(headers.get('cache-control'), 'public, max-age=60');
    assert.equal(headers.get('x-content-type-options'), 'nosniff');
    assert.match(headers.get('content-security-policy') ?? '', /^sandbox/);
    assert.equal(headers.get('x-triggerfs-exit-code'), '0');
    for (const [code, expected] of [
      ['1', 500],
      ['3', 404],
      ['4', 302],
    ] as const) {
      const [got, body] = await page(code);
      assert.deepEqual([got, body], [expected, '<h1>héllo</h1>'], code);
    }
    const [empty, nothing] = await page('5');
    assert.deepEqual([empty, nothing], [204, '']);
    // Whoever asks for JSON by name gets the whole answer.
    const [, json] = await page('3', { accept: 'application/json' });
    assert.deepEqual([JSON.parse(json).exitCode, JSON.parse(json).stderr], [3, 'not for the page']);
  });

  test('raw: errors are problems, and what does not fit is one', async (t) => {
    const stage = await GatewayStage.create(t, {
      service: { http: { plugin: 'echo', answer: 'raw' } },
      onTask: (task) => {
        task.started();
        if (task.payload.length === 0) return task.result(Verdict.timeout, 0);
        const chunk = Buffer.alloc(32 * 1024, 'x');
        let sent = 0;
        const pump = setInterval(() => {
          for (; task.credit >= chunk.length && sent < 11 * 1024 * 1024; sent += chunk.length) task.output(chunk);
          if (sent < 11 * 1024 * 1024) return;
          clearInterval(pump);
          task.result();
        }, 1);
        t.after(() => clearInterval(pump));
      },
    });
    for (const [body, status, code] of [
      ['', 504, 'TFS_TIMEOUT'],
      ['much', 502, 'TFS_PLUGIN_FAILED'],
    ] as const) {
      const answer = await stage.post({ body });
      assert.deepEqual([answer.status, ((await answer.json()) as { code: string }).code], [status, code]);
    }
  });

  test('a mapped service is called with fields of a form, of JSON, of the query and of headers', async (t) => {
    const http = { plugin: 'echo', payload: 'form.message', args: { to: 'form.to', from: 'form.from?=gateway', trace: 'header.x-trace?' } };
    const stage = await GatewayStage.create(t, { service: { plugins: ['echo', 'command/command'], http } });
    const form = (body: string, query = '', headers: Record<string, string> = {}): Promise<Response> =>
      stage.post({ url: stage.url() + query, body, headers: { 'content-type': 'application/x-www-form-urlencoded', ...headers } });
    const answer = await form('to=%2B1800555&message=Hey+buddy', '', { 'x-trace': 't1' });
    assert.equal(((await answer.json()) as { output: string }).output, 'Hey buddy');
    assert.deepEqual(stage.worker.tasks[0]?.plan.args, { to: '+1800555', from: 'gateway', trace: 't1' });
    const missing = await form('message=Hey');
    const problem = (await missing.json()) as { status: number; code: string; detail: string };
    assert.deepEqual([missing.status, problem.code], [400, 'TFS_BAD_ARGUMENT']);
    assert.match(problem.detail, /the argument to is missing: the request has no form\.to/);
    // A caller with a token may name another plugin that the service allows, and is then not mapped.
    const named = await form('raw bytes', 'plugin=command/command');
    assert.equal(((await named.json()) as { plugin: string; output: string }).output, 'raw bytes');
    assert.deepEqual(stage.worker.tasks[1]?.plan.args, {});
    assert.equal((await form('x', 'plugin=other/other')).status, 403);
  });

  test('settings take effect with the doorbell, and nonsense in the column opens nothing', async (t) => {
    const stage = await GatewayStage.create(t, { service: { visibility: 'public', plugins: ['echo'] } });
    const set = (http: unknown): Promise<unknown> =>
      stage.world.sql.query('update triggerfs.services set http = $1 where name = $2', [JSON.stringify(http), 'svc']);
    const status = async (method: string): Promise<number> => {
      const answer = await fetch(stage.url('alpha/svc', { plugin: 'echo' }), {
        method,
        headers: { authorization: `Bearer ${stage.token}` },
      });
      await answer.arrayBuffer();
      return answer.status;
    };
    assert.equal(await status('PUT'), 405);
    const begun = performance.now();
    await set({ methods: ['PUT'] });
    await until(async () => (await status('PUT')) === 200, { what: 'PUT is allowed' });
    assert.ok(performance.now() - begun < 1000);
    for (const nonsense of [
      { anonymous: true, methods: 'GET' },
      { anonymous: true, args: { a: '$..x' } },
      { origins: ['*'], credentials: true },
    ]) {
      await set(nonsense);
      await until(async () => (await status('PUT')) === 405, { what: 'the defaults' });
      assert.equal((await fetch(stage.url('alpha/svc', { plugin: 'echo' }), { method: 'POST' })).status, 401);
      await set({ methods: ['PUT'] });
      await until(async () => (await status('PUT')) === 200, { what: 'PUT is allowed again' });
    }
  });
});

suite('web pages of other origins', () => {
  const preflight = (url: string, origin: string, method = 'POST'): Promise<Response> =>
    fetch(url, {
      method: 'OPTIONS',
      headers: { origin, 'access-control-request-method': method, 'access-control-request-headers': 'authorization' },
    });

  test('are let in where the service lists them', async (t) => {
    const stage = await GatewayStage.create(t, { service: { http: { origins: [ORIGIN], credentials: true } } });
    const asked = await preflight(stage.url(), ORIGIN);
    assert.equal(asked.status, 204);
    assert.equal(asked.headers.get('access-control-allow-origin'), ORIGIN);
    assert.equal(asked.headers.get('access-control-allow-credentials'), 'true');
    assert.equal(asked.headers.get('access-control-allow-methods'), 'POST');
    assert.match(asked.headers.get('access-control-allow-headers') ?? '', /authorization, content-type, idempotency-key/);
    assert.equal(asked.headers.get('access-control-max-age'), '600');
    assert.equal(asked.headers.get('vary'), 'origin');
    const answer = await stage.post({ headers: { origin: ORIGIN } });
    assert.deepEqual(
      [answer.status, answer.headers.get('access-control-allow-origin'), answer.headers.get('vary')],
      [200, ORIGIN, 'origin'],
    );
    assert.match(answer.headers.get('access-control-expose-headers') ?? '', /location/);
    // A page has to be able to read what is wrong.
    const refused = await stage.post({ headers: { origin: ORIGIN, authorization: 'Bearer wrong' } });
    assert.deepEqual([refused.status, refused.headers.get('access-control-allow-origin')], [401, ORIGIN]);
  });

  test('are kept out elsewhere', async (t) => {
    const stage = await GatewayStage.create(t, { service: { http: { origins: [ORIGIN] } } });
    await stage.world.addService(stage.owner, 'closed', { workers: stage.people });
    await until(() => stage.broker.directory.team(stage.owner.teamId)?.services.has('closed'), { what: 'the service' });
    const cases: readonly (readonly [string, string])[] = [
      ['alpha/svc', 'https://app.example.com.evil.org'],
      ['alpha/svc', 'http://app.example.com'],
      ['alpha/svc', 'null'],
      ['alpha/svc', '*'],
      ['alpha/closed', ORIGIN],
      ['alpha/nothing', ORIGIN],
      ['nobody/svc', ORIGIN],
    ];
    for (const [service, origin] of cases) {
      const asked = await preflight(stage.url(service), origin);
      assert.deepEqual([asked.status, asked.headers.get('access-control-allow-origin')], [403, null], `${service} ${origin}`);
      assert.equal(((await asked.json()) as { code: string }).code, 'TFS_FORBIDDEN');
      const answer = await stage.post({ url: stage.url(service), headers: { origin } });
      assert.equal(answer.headers.get('access-control-allow-origin'), null);
      await answer.arrayBuffer();
    }
  });

  test('every origin means no credentials', async (t) => {
    const stage = await GatewayStage.create(t, { service: { http: { origins: ['*'] } } });
    const asked = await preflight(stage.url(), 'https://anything.example');
    assert.deepEqual(
      [asked.headers.get('access-control-allow-origin'), asked.headers.get('access-control-allow-credentials')],
      ['*', null],
    );
  });
});

test('strangers whose bodies trickle in hold up strangers at most', async (t) => {
  const stage = await GatewayStage.create(t, {
    service: { visibility: 'public', plugins: ['echo'], http: { plugin: 'echo', anonymous: true, rate: '1000/s', rateTotal: '1000/s' } },
  });
  const { hostname, port } = new URL(stage.broker.gatewayUrl);
  const begin = (path: string): ClientRequest => {
    const sent = request({ host: hostname, port, method: 'POST', path, headers: { 'content-length': String(4 * 1024 * 1024) } });
    sent.on('error', () => undefined);
    sent.write('x');
    t.after(() => void sent.destroy());
    return sent;
  };
  const known = async (): Promise<number> => {
    const begun = performance.now();
    for (let i = 0; i < 20; i += 1) assert.equal((await stage.post({ body: 'x'.repeat(1024 * 1024) })).status, 200);
    return performance.now() - begun;
  };
  const usualMs = await known();
  for (let i = 0; i < 40; i += 1) begin(i % 2 === 0 ? '/v1/invoke/alpha/svc' : '/v1/hooks/alpha/push');
  const strange = async (): Promise<number> => (await fetch(stage.url(), { method: 'POST', body: 'x'.repeat(1024 * 1024) })).status;
  await until(async () => (await strange()) === 503, { what: 'no room for strangers' });
  const ms = await known();
  assert.ok(ms < 5 * usualMs + 1_000, `${ms} ms, before the strangers came ${usualMs} ms`);
});

test('whatever is sent, the gateway does not break', async (t) => {
  const stage = await GatewayStage.create(t, {
    service: {
      visibility: 'public',
      plugins: ['echo'],
      http: {
        plugin: 'echo',
        anonymous: true,
        rate: '9999/s',
        rateTotal: '99999/s',
        methods: ['GET', 'POST', 'PUT'],
        args: { a: '$.a?', q: 'query.q?' },
      },
    },
  });
  const random = randomNumbers(77);
  const pick = <T>(values: readonly T[]): T => values[random(values.length)] as T;
  const id = '018f3c3e-0000-7000-8000-000000000000';
  const paths = [
    '/v1/invoke/alpha/svc',
    '/v1/invoke/alpha/%00',
    '/v1/hooks/alpha/push',
    '/v1/hooks/%ff/x',
    `/v1/invocations/${id}`,
    `/v1/invocations/${id}/output`,
  ];
  const queries = [
    '',
    '?q=1',
    '?q=1&q=2',
    '?key=',
    `?team=1&key=${'A'.repeat(50)}`,
    '?team=1e9&key=x',
    '?__proto__=1',
    '?plugin=echo',
    '?%zz',
    '?q=%ff',
    '?stream=x',
  ];
  const types = ['application/json', 'application/x-www-form-urlencoded', 'text/plain', 'multipart/form-data; boundary=x', ''];
  const bodies = ['', '{"a":1}', '{"a":{}}', '[', 'null', '"\ud800"', 'a=1&a=2', '\0', '{"__proto__":{"a":1}}', `${'['.repeat(5000)}`];
  const values = ['', 'respond-async', 'respond-async, wait=0', 'wait=x', ',,,;=', 'x'.repeat(300), '"', 'sha256=00', 't=1,v1=00', '*/*'];
  const names = [
    'prefer',
    'x-hub-signature-256',
    'stripe-signature',
    'origin',
    'accept',
    'x-forwarded-for',
    'x-forwarded-host',
    'content-encoding',
    'access-control-request-method',
  ];
  const seen = new Set<number>();
  for (let i = 0; i < 800; i += 1) {
    const method = pick(['GET', 'POST', 'PUT', 'OPTIONS', 'DELETE', 'HEAD']);
    const headers: Record<string, string> = { 'content-type': pick(types), [pick(names)]: pick(values), [pick(names)]: pick(values) };
    if (random(3) === 0) headers.authorization = pick([`Bearer ${stage.token}`, 'Bearer x', 'Basic eA==']);
    const url = `${stage.broker.gatewayUrl}${pick(paths)}${pick(queries)}`;
    const answer = await fetch(url, { method, headers, ...(method === 'GET' || method === 'HEAD' ? {} : { body: pick(bodies) }) });
    await answer.arrayBuffer();
    assert.ok(answer.status < 500 || answer.status === 503, `${method} ${url} ${JSON.stringify(headers)}: ${answer.status}`);
    seen.add(answer.status);
  }
  for (const status of [200, 202, 204, 400, 401, 404, 405]) assert.ok(seen.has(status), String(status));
  assert.equal((await stage.post({ body: '{"a":"still here"}' })).status, 200);
});
