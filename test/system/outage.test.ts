import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { silentLogger } from '../../runtime/logging.ts';
import { EmbeddedPostgres } from '../../runtime/postgres/embedded.ts';
import { lastFirst } from '../support/last-first.ts';
import { serverFolder } from '../support/server.ts';
import { System } from '../support/system.ts';
import { until } from '../support/wait.ts';

const OUTAGE_MS = 8_000;

test('PostgreSQL stopped: calls go on, the API answers 503, and everything heals by itself', async (context) => {
  const t = lastFirst(context);
  const folder = serverFolder(t);
  const start = (port: number): Promise<EmbeddedPostgres> =>
    EmbeddedPostgres.start({ dataDir: join(folder, 'postgres'), port, log: silentLogger(), fsync: false });
  let postgres = await start(0);
  t.after(() => postgres.stop());
  const port = Number(new URL(postgres.url).port);
  const system = await System.start(t, { mount: false, databaseUrl: postgres.url });
  const client = await system.client();
  const ask = async (service: string): Promise<string> =>
    (await client.invoke({ service, plugin: 'echo', payload: 'x', timeoutMs: 5_000 }).outcome).verdict;
  const health = async (): Promise<number> => (await fetch(`${system.ready.api}/healthz`)).status;
  assert.equal(await ask('demo'), 'ok');
  assert.equal(await health(), 200);

  await postgres.stop();
  const end = performance.now() + OUTAGE_MS;
  let calls = 0;
  while (performance.now() < end) {
    assert.equal(await ask('demo'), 'ok');
    calls += 1;
  }
  assert.ok(calls > 100, `${calls} calls during the outage`);
  assert.equal(await health(), 503);
  const refused = await fetch(`${system.ready.api}/v1/services`, { headers: { authorization: `Bearer ${system.login.apiToken}` } });
  assert.equal(refused.status, 503);
  assert.ok(Number(refused.headers.get('retry-after')) > 0);
  assert.equal(((await refused.json()) as { code: string }).code, 'TFS_UNAVAILABLE');

  postgres = await start(port);
  await until(async () => (await health()) === 200, { timeoutMs: 10_000, what: 'the API is healthy again' });
  await system.api('POST', '/v1/services', { name: 'afterwards' });
  await system.api('POST', '/v1/services/afterwards/workers', { worker: 'demo01' });
  await until(async () => (await ask('afterwards')) === 'ok', {
    timeoutMs: 15_000,
    what: 'the broker learns of a service made after the outage',
  });
});
