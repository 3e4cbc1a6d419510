import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { test } from 'node:test';
import { ensureDemo } from '../../control-plane/bootstrap.ts';
import { COST, SECRET, startFixture } from './fixture.ts';

test('the demo content is made once, and what people changed stays', async (t) => {
  const api = await startFixture(t);
  const options = {
    databaseUrl: api.databaseUrl,
    secret: SECRET,
    workerToken: randomUUID(),
    logFile: '/data/demo.log',
    passwordCost: COST,
  };
  await Promise.all([ensureDemo(options), ensureDemo(options)]);
  const login = await api.call('POST /v1/login', { body: { team: 'demo', identity: 'demo', secret: SECRET } });
  assert.equal(login.body.role, 'owner');
  const token = String(login.body.apiToken);
  const worker = await api.call('POST /v1/workers/login', { body: { team: 'demo', identity: 'demo01', token: options.workerToken } });
  assert.equal(worker.status, 200);
  const service = (await api.call('GET /v1/services/demo', { token })).body;
  assert.deepEqual([service.algorithm, service.workers, service.triggers], ['roundrobin', ['demo01'], ['/demo/command', '/demo/log']]);
  const log = (await api.call('GET /v1/triggers/%2Fdemo%2Flog', { token })).body;
  assert.deepEqual([log.plugin, log.service, log.args, log.framing], ['file/append', 'demo', { path: '/data/demo.log' }, 'write']);
  const command = (await api.call('GET /v1/triggers/command', { token })).body;
  assert.deepEqual([command.plugin, command.service, command.args, command.framing], ['command/command', 'demo', {}, 'write']);

  await api.call('PATCH /v1/triggers/command', { token, body: { framing: 'line' } });
  await api.call('DELETE /v1/triggers/log', { token });
  const next = { ...options, workerToken: randomUUID(), secret: 'ignored now' };
  await ensureDemo(next);
  assert.equal((await api.call('GET /v1/triggers/command', { token })).body.framing, 'line');
  assert.equal((await api.call('GET /v1/triggers/log', { token })).status, 200, 'a deleted piece comes back');
  assert.equal((await api.call('POST /v1/login', { body: { team: 'demo', identity: 'demo', secret: SECRET } })).status, 200);
  const newest = await api.call('POST /v1/workers/login', { body: { team: 'demo', identity: 'demo01', token: next.workerToken } });
  assert.equal(newest.status, 200);
});
