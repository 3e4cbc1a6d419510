import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { startControlPlane } from '../../control-plane/server.ts';
import { parseConfig } from '../../runtime/config/index.ts';
import { silentLogger } from '../../runtime/logging.ts';
import { EmbeddedPostgres } from '../../runtime/postgres/embedded.ts';
import { lastFirst } from '../support/last-first.ts';
import { masterKeySection } from '../support/master-key.ts';
import { until } from '../support/wait.ts';
import { Fixture } from './fixture.ts';

test('while PostgreSQL is down every request is answered 503 at once, and it heals by itself', async (context) => {
  const t = lastFirst(context);
  const dataDir = await mkdtemp(join(tmpdir(), 'triggerfs-outage-'));
  t.after(() => rm(dataDir, { recursive: true, force: true }));
  const start = (port: number): Promise<EmbeddedPostgres> => EmbeddedPostgres.start({ dataDir, port, log: silentLogger(), fsync: false });
  let postgres = await start(0);
  t.after(() => postgres.stop());
  const controlPlane = await startControlPlane({
    config: parseConfig(masterKeySection(), null),
    databaseUrl: postgres.url,
    log: silentLogger(),
    port: 0,
    passwordCost: 4,
  });
  t.after(() => controlPlane.stop());
  const api = new Fixture(controlPlane, postgres.url);
  await api.team('a');
  const token = await api.tokenOf('owner');

  for (let round = 0; round < 2; round += 1) {
    await postgres.stop();
    const began = performance.now();
    const login = { body: { team: 'a', identity: 'owner-a', secret: 'whatever' } };
    const answers = await Promise.all([
      api.call('GET /healthz'),
      api.call('GET /v1/whoami', { token }),
      api.call('POST /v1/services', { token, body: { name: 'x' } }),
      ...Array.from({ length: 20 }, () => api.call('POST /v1/login', login)),
    ]);
    for (const answer of answers) {
      assert.deepEqual([answer.status, answer.body.code, answer.headers.get('retry-after')], [503, 'TFS_UNAVAILABLE', '1']);
      assert.doesNotMatch(JSON.stringify(answer.body), /postgres|127\.0\.0\.1|ECONN/);
    }
    assert.ok(performance.now() - began < 3_000, 'answers come at once');
    assert.equal((await api.call('GET /v1/jwks.json')).status, 200, 'what is in memory is still served');

    postgres = await start(Number(new URL(postgres.url).port));
    await until(async () => (await api.call('GET /healthz')).status === 200, { what: 'healthy again', timeoutMs: 3_000 });
    assert.equal((await api.call('GET /v1/whoami', { token })).status, 200, 'an older token is still good');
    await api.logIn('owner');
  }
});
