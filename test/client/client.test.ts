import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Call, Outcome, OutputChunk } from '../../client/index.ts';
import { LIMITS } from '../../protocol/limits.ts';
import { RecordType } from '../../protocol/records.ts';
import { Verdict } from '../../protocol/verdicts.ts';
import { until } from '../support/wait.ts';
import type { FakePeer } from './fake-broker.ts';
import { connect } from './support.ts';

const ECHO = { service: 'demo', plugin: 'echo' };

test('an invocation gives manifest, output and outcome', async (t) => {
  const { client, broker } = await connect(t);
  const invocation = client.invoke({ service: 'demo', plugin: 'echo', payload: 'hello', args: { a: '1' }, timeoutMs: 5000 });
  const chunks: OutputChunk[] = [];
  for await (const chunk of invocation) chunks.push(chunk);
  const manifest = await invocation.manifest;
  assert.equal(manifest?.algorithm, 'roundrobin');
  assert.deepEqual(manifest?.workers, ['demo01']);
  assert.match(manifest?.invocation ?? '', /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  assert.deepEqual(chunks, [{ worker: 'demo01', stream: 'stdout', sequence: 0, data: Buffer.from('hello') }]);
  assert.deepEqual(await invocation.outcome, { verdict: 'ok', exitCode: 0, runs: 1, error: null, detail: '' });
  const [request] = broker.requests;
  assert.deepEqual(request?.route, { route: 1, service: 'demo', plugin: 'echo', args: { a: '1' } });
  assert.equal(request?.invocation, invocation.id.toString('hex'));
  assert.equal(request?.timeoutMs, 5000);
  assert.equal(request?.resume, false);
});

test('a rule is announced once and given back when closed; requests keep their order', async (t) => {
  const { client, broker } = await connect(t);
  const route = client.route({ ...ECHO, trigger: 7 });
  const seen: string[] = [];
  const done = Promise.withResolvers<void>();
  const handlers = {
    output: (_call: Call, data: Buffer) => void seen.push(data.toString()),
    done: (call: Call) => {
      if (call.tag === 499) done.resolve();
    },
  };
  for (let i = 0; i < 500; i += 1) route.send(Buffer.from(String(i)), handlers, { tag: i });
  await done.promise;
  assert.deepEqual(
    seen,
    Array.from({ length: 500 }, (_, i) => String(i)),
  );
  const [peer] = broker.sessions as [FakePeer];
  assert.deepEqual([...peer.routes.values()], [{ route: 1, service: 'demo', plugin: 'echo', trigger: 7 }]);
  route.close();
  await until(() => peer.routes.size === 0, { what: 'UNROUTE' });
  assert.throws(() => route.send(Buffer.alloc(1), handlers), { code: 'TFS_UNAVAILABLE' });
});

test('invocations with the same rule share one route', async (t) => {
  const { client, broker } = await connect(t);
  await client.invoke({ ...ECHO, payload: '1', args: { a: '1', b: '2' } }).outcome;
  await client.invoke({ ...ECHO, payload: '2', args: { b: '2', a: '1' } }).outcome;
  await client.invoke({ ...ECHO, payload: '3' }).outcome;
  assert.deepEqual(
    broker.requests.map(({ route }) => route.route),
    [1, 1, 2],
  );
  for (let i = 0; i < 200; i += 1) await client.invoke({ ...ECHO, payload: '', args: { i: String(i) } }).outcome;
  await until(() => (broker.sessions[0] as FakePeer).routes.size <= 65, { what: 'rules that are not used any more to be given back' });
});

test('runs of several workers are told apart and joined into one outcome', async (t) => {
  const { client, broker } = await connect(t);
  broker.onRequest = ({ peer, call }) => {
    peer.manifest(call, [1, 2, 3], { algorithm: 2 });
    peer.output(call, 2, 0, 'two');
    peer.output(call, 1, 0, 'one', true);
    peer.result(call, { worker: 2, verdict: Verdict.failed, exitCode: 7, last: false });
    peer.result(call, { worker: 1, last: false });
    peer.result(call, { worker: 3, verdict: Verdict.workerLost, error: 'TFS_WORKER_LOST', detail: 'demo03 was lost' });
  };
  const invocation = client.invoke({ ...ECHO, payload: '' });
  const outputs: string[] = [];
  for await (const { worker, stream, data } of invocation) outputs.push(`${worker} ${stream} ${data}`);
  assert.deepEqual(outputs, ['demo02 stdout two', 'demo01 stderr one']);
  assert.deepEqual(
    invocation.verdicts.map(({ worker, verdict, exitCode }) => [worker, verdict, exitCode]),
    [
      ['demo02', 'failed', 7],
      ['demo01', 'ok', 0],
      ['demo03', 'worker-lost', 0],
    ],
  );
  assert.deepEqual(await invocation.outcome, {
    verdict: 'worker-lost',
    exitCode: 69,
    runs: 3,
    error: 'TFS_WORKER_LOST',
    detail: 'demo03 was lost',
  });
});

test('abort signal and cancel end a run through the broker', async (t) => {
  const { client, broker } = await connect(t);
  broker.onRequest = ({ peer, call }) => peer.manifest(call, [1]);
  broker.onCancel = (peer, call) => peer.result(call, { verdict: Verdict.cancelled, error: 'TFS_CANCELLED' });
  const controller = new AbortController();
  const invocation = client.invoke({ ...ECHO, payload: '', signal: controller.signal });
  await invocation.manifest;
  controller.abort();
  assert.equal((await invocation.outcome).verdict, 'cancelled');
  assert.equal((await client.invoke({ ...ECHO, payload: '', signal: AbortSignal.abort() }).outcome).exitCode, 130);
  assert.equal(broker.sessions[0]?.cancels.length, 2);
});

test('leaving the iteration early cancels the invocation', async (t) => {
  const { client, broker } = await connect(t);
  broker.onRequest = ({ peer, call }) => {
    peer.manifest(call, [1]);
    peer.output(call, 1, 0, 'first');
    peer.output(call, 1, 1, 'second');
  };
  broker.onCancel = (peer, call) => peer.result(call, { verdict: Verdict.cancelled, error: 'TFS_CANCELLED' });
  const invocation = client.invoke({ ...ECHO, payload: '' });
  for await (const chunk of invocation) {
    assert.equal(chunk.data.toString(), 'first');
    break;
  }
  assert.equal((await invocation.outcome).verdict, 'cancelled');
});

test('bad requests are refused before they are sent', async (t) => {
  const { client } = await connect(t);
  assert.throws(() => client.invoke({ ...ECHO, payload: Buffer.alloc(LIMITS.payloadBytes + 1) }), { code: 'TFS_TOO_LARGE' });
  for (const timeoutMs of [-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, LIMITS.maxTimeoutMs + 1]) {
    assert.throws(() => client.invoke({ ...ECHO, payload: '', timeoutMs }), { code: 'TFS_BAD_TIMEOUT' }, String(timeoutMs));
  }
  const route = client.route(ECHO);
  assert.throws(() => route.send(Buffer.alloc(0), { done: () => {} }, { invocation: Buffer.alloc(15) }), { code: 'TFS_BAD_REQUEST' });
  assert.equal(client.pending, 0);
});

test('the largest payload arrives whole', async (t) => {
  const { client, broker } = await connect(t);
  broker.onRequest = ({ peer, call }) => peer.result(call);
  const payload = Buffer.alloc(LIMITS.payloadBytes, 7);
  assert.equal((await client.invoke({ ...ECHO, payload }).outcome).verdict, 'ok');
  assert.ok(broker.requests[0]?.payload.equals(payload));
});

test('garbage from the broker ends the session, not the process, and the call goes on in the next session', async (t) => {
  const { client, broker } = await connect(t);
  const garbage = [
    Buffer.alloc(0),
    Buffer.from('GET / HTTP/1.1'),
    Buffer.from([1, 255, 255, 255, 255, RecordType.output, 0]),
    Buffer.from([1, 3, 0, 0, 0, RecordType.result, 0, 1]),
    Buffer.from([1, 4, 0, 0, 0, RecordType.welcome, 0, 0x5b, 0x5d]),
    Buffer.from([1, 4, 0, 0, 0, RecordType.changed, 0, 0x7b, 0x7b]),
  ];
  let next = 0;
  broker.onRequest = ({ peer, call }) => {
    const bytes = garbage[next];
    next += 1;
    if (bytes === undefined) peer.result(call);
    else peer.garbage(bytes);
  };
  const outcome = await client.invoke({ ...ECHO, payload: '', timeoutMs: 20_000 }).outcome;
  assert.equal(outcome.verdict, 'ok');
  assert.equal(next, garbage.length + 1);
});

test('records for calls that are done are ignored', async (t) => {
  const { client, broker } = await connect(t);
  broker.onRequest = ({ peer, call }) => {
    peer.result(call);
    peer.output(call, 1, 0, 'late');
    peer.result(call);
    peer.manifest(call + 1, [1]);
    peer.output(0, 1, 0, 'nobody');
  };
  const outputs: number[] = [];
  const outcomes: Outcome[] = [];
  const route = client.route(ECHO);
  const handlers = {
    output: (_call: Call, data: Buffer) => void outputs.push(data.length),
    done: (_call: Call, outcome: Outcome) => void outcomes.push(outcome),
  };
  route.send(Buffer.alloc(0), handlers);
  await until(() => outcomes.length === 1, { what: 'the outcome' });
  assert.equal((await client.invoke({ ...ECHO, payload: '' }).outcome).verdict, 'ok');
  assert.deepEqual([outputs.length, outcomes.length], [0, 1]);
});

test('configuration changes are told once however many sessions tell them', async (t) => {
  const { client, brokers } = await connect(t, 2, { watch: true });
  const versions: number[] = [];
  client.onChanged((version) => versions.push(version));
  await until(() => brokers.every(({ sessions }) => sessions.length === 1), { what: 'two sessions' });
  for (const broker of brokers) {
    assert.equal(broker.sessions[0]?.hello?.watch, true);
    broker.sessions[0]?.json(RecordType.changed, { version: 5 });
  }
  brokers[1]?.sessions[0]?.json(RecordType.changed, { version: 6 });
  await until(() => versions.includes(6), { what: 'version 6' });
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.deepEqual(versions, [5, 6]);
});

test('stop ends what is on its way and says good-bye', async (t) => {
  const { client, broker } = await connect(t);
  broker.onRequest = () => {};
  const { outcome } = client.invoke({ ...ECHO, payload: '' });
  await until(() => broker.requests.length === 1, { what: 'the request' });
  const [peer] = broker.sessions as [FakePeer];
  await client.stop();
  assert.equal((await outcome).verdict, 'cancelled');
  await until(() => peer.bye, { what: 'BYE' });
  assert.equal(peer.cancels.length, 1);
  assert.throws(() => client.invoke({ ...ECHO, payload: '' }), { code: 'TFS_UNAVAILABLE' });
});
