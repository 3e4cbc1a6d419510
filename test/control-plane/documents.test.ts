import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { before, suite, test } from 'node:test';
import { POLICIES } from '../../control-plane/http/policy.ts';
import { packageRoot } from '../../runtime/package-root.ts';
import { type Fixture, startFixture, suiteCleanup } from './fixture.ts';

interface Operation {
  readonly summary?: string;
  readonly security?: unknown;
  readonly responses: Readonly<Record<string, unknown>>;
}

suite('documents', () => {
  const cleanup = suiteCleanup();
  let api: Fixture;

  before(async () => {
    api = await startFixture(cleanup);
  });

  function routes(): string[] {
    return api.controlPlane.routes.filter(({ method }) => method !== 'HEAD').map(({ method, url, policy }) => `${method} ${url} ${policy}`);
  }

  test('docs/api.md lists exactly the registered routes and policies', async () => {
    const page = await readFile(join(packageRoot(), 'docs', 'api.md'), 'utf8');
    const listed = [...page.matchAll(/^\| ([A-Z]+) \| `([^`]+)` \| (\w+) \| .+ \|$/gm)].map((row) => `${row[1]} ${row[2]} ${row[3]}`);
    assert.deepEqual(listed.sort(), routes().sort());
    const policies = [...page.matchAll(/^\| (\w+) \| [^|`]+(?:`\w+`)? \|$/gm)].map((row) => String(row[1]));
    for (const policy of Object.keys(POLICIES)) assert.ok(policies.includes(policy) || page.includes(`| ${policy} |`), policy);
  });

  test('the OpenAPI document describes every route but itself', async () => {
    const document = (await api.call('GET /openapi.json')).body as unknown as {
      openapi: string;
      paths: Record<string, Record<string, Operation>>;
    };
    assert.equal(document.openapi, '3.1.0');
    for (const { method, url, policy } of api.controlPlane.routes) {
      if (method === 'HEAD' || url === '/openapi.json') continue;
      const operation = document.paths[url.replaceAll(/:(\w+)/g, '{$1}')]?.[method.toLowerCase()];
      assert.ok(operation?.summary !== undefined, `${method} ${url}`);
      assert.equal(operation.security === undefined, policy === 'public', `${method} ${url}`);
    }
  });

  test('the measurements name route patterns, never addresses', async () => {
    await api.call('GET /v1/services/secret-name');
    const answer = await api.call('GET /metrics');
    assert.equal(answer.status, 200);
    const text = String(answer.body.text);
    assert.match(text, /triggerfs_api_request_seconds_count\{method="GET",route="\/v1\/services\/:name",status="401"\} 1/);
    assert.doesNotMatch(text, /secret-name/);
    assert.match(text, /triggerfs_database_connections\{state="idle"\}/);
  });

  test('a route without a policy is refused when it is registered', async () => {
    const { registerGuard } = await import('../../control-plane/http/guard.ts');
    const { default: fastify } = await import('fastify');
    const app = fastify();
    registerGuard(app, {} as never);
    assert.throws(() => app.get('/open', async () => 'x'), /the route GET \/open declares no policy/);
    assert.throws(() => app.get('/odd', { config: { policy: 'toString' as never } }, async () => 'x'), /declares no policy/);
    await app.close();
  });
});
