import assert from 'node:assert/strict';
import { before, suite, test } from 'node:test';
import { type Fixture, startFixture, suiteCleanup } from './fixture.ts';

suite('input', () => {
  const cleanup = suiteCleanup();
  let api: Fixture;
  let token: string;

  before(async () => {
    api = await startFixture(cleanup);
    token = await api.tokenOf('owner');
    await api.call('POST /v1/services', { token, body: { name: 'kept', visibility: 'team' } });
  });

  const json = { 'content-type': 'application/json' };
  const deep = `${'{"args":'.repeat(40)}1${'}'.repeat(40)}`;
  const bad: [
    name: string,
    route: string,
    call: { body?: unknown; raw?: string; headers?: Record<string, string> },
    status: number,
    code: string,
  ][] = [
    ['no JSON', 'POST /v1/services', { raw: '{"name":', headers: json }, 400, 'TFS_BAD_JSON'],
    ['an empty body', 'POST /v1/services', { raw: '', headers: json }, 400, 'TFS_BAD_JSON'],
    ['prototype poisoning', 'POST /v1/services', { raw: '{"name":"x","__proto__":{"a":1}}', headers: json }, 400, 'TFS_BAD_JSON'],
    [
      'constructor poisoning',
      'POST /v1/services',
      { raw: '{"name":"x","constructor":{"prototype":{}}}', headers: json },
      400,
      'TFS_BAD_JSON',
    ],
    ['an array', 'POST /v1/services', { body: [] }, 400, 'TFS_BAD_REQUEST'],
    ['null', 'POST /v1/services', { raw: 'null', headers: json }, 400, 'TFS_BAD_REQUEST'],
    ['deep nesting', 'POST /v1/triggers', { raw: deep, headers: json }, 400, 'TFS_BAD_REQUEST'],
    ['very deep nesting', 'POST /v1/triggers', { raw: '['.repeat(100_000) + ']'.repeat(100_000), headers: json }, 400, 'TFS_BAD_REQUEST'],
    ['NUL in a value', 'POST /v1/services', { body: { name: 'x', description: 'a\0b' } }, 400, 'TFS_BAD_REQUEST'],
    ['NUL in a path', 'GET /v1/services/a%00b', {}, 400, 'TFS_BAD_REQUEST'],
    ['a lone surrogate', 'POST /v1/services', { raw: '{"name":"x","description":"\\ud800"}', headers: json }, 400, 'TFS_BAD_REQUEST'],
    ['a broken escape in a path', 'GET /v1/services/%zz', {}, 400, 'TFS_BAD_REQUEST'],
    ['text', 'POST /v1/services', { raw: 'name=x', headers: { 'content-type': 'text/plain' } }, 415, 'TFS_UNSUPPORTED_MEDIA'],
    [
      'a form',
      'POST /v1/services',
      { raw: 'name=x', headers: { 'content-type': 'application/x-www-form-urlencoded' } },
      415,
      'TFS_UNSUPPORTED_MEDIA',
    ],
    [
      'a malformed content type',
      'POST /v1/services',
      { raw: '{"name":"x"}', headers: { 'content-type': 'application/json a' } },
      415,
      'TFS_UNSUPPORTED_MEDIA',
    ],
    ['more than 1 MiB', 'POST /v1/services', { body: { name: 'x', description: 'x'.repeat(1024 * 1024) } }, 413, 'TFS_TOO_LARGE'],
    [
      'too many arguments',
      'POST /v1/triggers',
      { body: { path: '/d/t', args: { a: 'x'.repeat(40_000), b: 'x'.repeat(40_000) } } },
      413,
      'TFS_TOO_LARGE',
    ],
    ['an owner', 'POST /v1/services', { body: { name: 'x', owner: 'viewer-a' } }, 400, 'TFS_BAD_REQUEST'],
    ['a team', 'POST /v1/workers', { body: { identity: 'x', teamId: 2, team_id: 2 } }, 400, 'TFS_BAD_REQUEST'],
    ['a token', 'POST /v1/workers', { body: { identity: 'x', token: 'mine' } }, 400, 'TFS_BAD_REQUEST'],
    ['hits', 'POST /v1/triggers', { body: { path: '/d/t', hits: 5 } }, 400, 'TFS_BAD_REQUEST'],
    ['an id', 'PATCH /v1/services/kept', { body: { id: 77 } }, 400, 'TFS_BAD_REQUEST'],
    ['a plan', 'PATCH /v1/teams/a', { body: { plan: 'free' } }, 400, 'TFS_BAD_REQUEST'],
    ['nothing', 'PATCH /v1/services/kept', { body: {} }, 400, 'TFS_BAD_REQUEST'],
    ['a number as text', 'PATCH /v1/services/kept', { body: { timeoutMs: '1000' } }, 400, 'TFS_BAD_REQUEST'],
    ['a negative timeout', 'PATCH /v1/services/kept', { body: { timeoutMs: -1 } }, 400, 'TFS_BAD_REQUEST'],
    ['an unknown algorithm', 'PATCH /v1/services/kept', { body: { algorithm: 'direct' } }, 400, 'TFS_BAD_REQUEST'],
    ['a path as a plugin', 'POST /v1/services/kept/plugins', { body: { plugin: '../../bin/sh' } }, 400, 'TFS_BAD_REQUEST'],
    ['a path as a name', 'POST /v1/services', { body: { name: '../../etc' } }, 400, 'TFS_BAD_REQUEST'],
    ['a relative path', 'POST /v1/directories', { body: { path: '/a/../b' } }, 400, 'TFS_BAD_NAME'],
    ['a doubled slash', 'POST /v1/directories', { body: { path: '/a//b' } }, 400, 'TFS_BAD_NAME'],
    ['a slash at the end', 'POST /v1/directories', { body: { path: '/a/' } }, 400, 'TFS_BAD_NAME'],
    ['a line break in a path', 'POST /v1/directories', { body: { path: '/a\nb' } }, 400, 'TFS_BAD_NAME'],
    ['a hidden segment', 'POST /v1/directories', { body: { path: '/.a' } }, 400, 'TFS_BAD_NAME'],
    ['an unknown route', 'GET /v1/nothing', {}, 404, 'TFS_NOT_FOUND'],
    ['an unknown method', 'PATCH /v1/services', { body: {} }, 404, 'TFS_NOT_FOUND'],
    ['a name with SQL in it', "GET /v1/services/x'%20or%201=1--", {}, 404, 'TFS_UNKNOWN_SERVICE'],
  ];

  for (const [name, route, call, status, code] of bad) {
    test(`${route.split('?')[0]} with ${name}: ${code}`, async () => {
      const earlier = await api.sql('select * from triggerfs.services');
      const answer = await api.call(route, { token, ...call });
      assert.deepEqual([answer.status, answer.body.code], [status, code], answer.body.detail);
      assert.equal(answer.headers.get('content-type')?.split(';')[0], 'application/problem+json');
      assert.deepEqual(Object.keys(answer.body).sort(), ['code', 'detail', 'hint', 'retryable', 'status', 'title']);
      assert.deepEqual(await api.sql('select * from triggerfs.services'), earlier);
      assert.equal((await api.call('GET /v1/whoami', { token })).status, 200);
    });
  }

  test('too many requests from one address', async (t) => {
    const limited = await startFixture(t, { requestsPerSecond: 1 });
    const codes: number[] = [];
    for (let i = 0; i < 65; i += 1) codes.push((await limited.call('GET /v1/jwks.json')).status);
    assert.deepEqual([codes.filter((code) => code === 200).length, codes.at(-1)], [60, 429]);
    const refused = await limited.call('GET /v1/jwks.json');
    assert.equal(refused.body.code, 'TFS_RATE_LIMITED');
    assert.ok(Number(refused.headers.get('retry-after')) > 0);
    assert.equal((await limited.call('GET /healthz')).status, 200, 'health is always told');
  });
});
