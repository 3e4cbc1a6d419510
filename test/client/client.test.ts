import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { OutputChunk } from '../../client/index.ts';
import { connect } from './support.ts';

test('an invocation gives manifest, output and outcome', async (t) => {
  const { client, broker } = await connect(t);
  const invocation = client.invoke({ service: 'demo', plugin: 'echo', payload: 'hello', args: { a: '1' }, timeoutMs: 5000 });
  const chunks: OutputChunk[] = [];
  for await (const chunk of invocation) chunks.push(chunk);
  const manifest = await invocation.manifest;
  assert.equal(manifest?.algorithm, 'roundrobin');
  assert.deepEqual(manifest?.workers, ['demo01']);
  assert.deepEqual(chunks, [{ worker: 'demo01', stream: 'stdout', sequence: 0, data: Buffer.from('hello') }]);
  assert.deepEqual(await invocation.outcome, { verdict: 'ok', exitCode: 0, runs: 1, error: null, detail: '' });
  const [request] = broker.requests;
  assert.deepEqual(request?.route, { route: 1, service: 'demo', plugin: 'echo', args: { a: '1' } });
  assert.equal(request?.invocation, invocation.id.toString('hex'));
});
