import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { Call, Client, Outcome } from '../../client/index.ts';
import { RecordType } from '../../protocol/records.ts';
import { Verdict } from '../../protocol/verdicts.ts';
import { until } from '../support/wait.ts';
import { echo, type FakeBroker, type FakeRequest } from './fake-broker.ts';
import { connect, fakeLogin, makeClient, startBrokers } from './support.ts';

const RULE = { service: 'demo', plugin: 'echo' };

/** Two brokers with a session each; `primary` gets the requests. */
async function pair(t: TestContext): Promise<{ client: Client; primary: FakeBroker; other: FakeBroker }> {
  const { client, brokers } = await connect(t, 2);
  await until(() => brokers.every(({ sessions }) => sessions.length === 1), { what: 'two sessions' });
  await client.invoke({ ...RULE, payload: 'probe' }).outcome;
  const [primary, other] = brokers[0]?.requests.length === 1 ? brokers : [...brokers].reverse();
  for (const broker of brokers) broker.requests.length = 0;
  return { client, primary: primary as FakeBroker, other: other as FakeBroker };
}

test('calls of a lost broker are sent again on the other one, in order, with the same ids and the flag resume', async (t) => {
  const { client, primary, other } = await pair(t);
  primary.onRequest = ({ peer, call }) => {
    peer.manifest(call, [3]);
    peer.output(call, 3, 0, 'one');
    peer.output(call, 3, 1, 'two');
  };
  other.onRequest = ({ peer, call, resume }) => {
    peer.manifest(call, [3]);
    // The worker replays what the lost broker may not have delivered.
    if (resume) for (const [i, text] of ['one', 'two', 'three'].entries()) peer.output(call, 3, i, text);
    peer.result(call, { worker: 3, exitCode: 4, verdict: Verdict.failed });
  };
  const outputs = new Map<number, string[]>();
  const outcomes: Outcome[] = [];
  const handlers = {
    output: (call: Call, data: Buffer, _stderr: boolean, worker: string, sequence: number) => {
      const list = outputs.get(call.tag as number) ?? [];
      outputs.set(call.tag as number, list);
      list.push(`${worker}:${sequence}:${data}`);
    },
    done: (_call: Call, outcome: Outcome) => void outcomes.push(outcome),
  };
  const route = client.route(RULE);
  for (let i = 0; i < 50; i += 1) route.send(Buffer.from(String(i)), handlers, { tag: i });
  await until(() => [...outputs.values()].filter((list) => list.length === 2).length === 50, { what: 'output through the first broker' });
  const first = [...primary.requests];
  const killed = performance.now();
  primary.kill();
  await until(() => outcomes.length === 50, { what: 'outcomes through the other broker' });
  assert.ok(performance.now() - killed < 1000, 'the pause is short');
  assert.deepEqual(
    other.requests.map(({ payload }) => payload.toString()),
    Array.from({ length: 50 }, (_, i) => String(i)),
  );
  assert.deepEqual(
    other.requests.map(({ invocation }) => invocation),
    first.map(({ invocation }) => invocation),
  );
  assert.ok(other.requests.every(({ resume, resumeWorker }) => resume && resumeWorker === 3));
  for (const list of outputs.values()) assert.deepEqual(list, ['demo03:0:one', 'demo03:1:two', 'demo03:2:three']);
  assert.ok(outcomes.every(({ exitCode, runs }) => exitCode === 4 && runs === 1));
});

test('runs that had ended before the loss are not reported again', async (t) => {
  const { client, primary, other } = await pair(t);
  primary.onRequest = ({ peer, call }) => {
    peer.manifest(call, [1, 2], { algorithm: 2 });
    peer.output(call, 1, 0, 'a');
    peer.result(call, { worker: 1, last: false });
  };
  other.onRequest = ({ peer, call }) => {
    peer.manifest(call, [1, 2], { algorithm: 2 });
    peer.output(call, 1, 0, 'a');
    peer.output(call, 2, 0, 'b');
    peer.result(call, { worker: 2, last: false });
    peer.result(call, { worker: 1 });
  };
  const invocation = client.invoke({ ...RULE, payload: '' });
  await until(() => invocation.verdicts.length === 1, { what: 'the first verdict' });
  primary.kill();
  const seen: string[] = [];
  for await (const { worker, data } of invocation) seen.push(`${worker}:${data}`);
  assert.deepEqual(seen, ['demo01:a', 'demo02:b']);
  assert.deepEqual(
    invocation.verdicts.map(({ worker }) => worker),
    ['demo01', 'demo02'],
  );
  assert.equal((await invocation.outcome).runs, 2);
});

test('a new attempt on the same worker counts its output from the start', async (t) => {
  const { client, broker } = await connect(t);
  broker.onRequest = ({ peer, call }) => {
    peer.manifest(call, [1], { attempt: 0 });
    peer.output(call, 1, 0, 'first');
    peer.manifest(call, [1], { attempt: 1 });
    peer.output(call, 1, 0, 'second');
    peer.result(call, { attempt: 1 });
  };
  const seen: string[] = [];
  for await (const { data } of client.invoke({ ...RULE, payload: '' })) seen.push(data.toString());
  assert.deepEqual(seen, ['first', 'second']);
});

test('with a single broker calls wait for it to come back, new ones too', async (t) => {
  const { client, broker } = await connect(t);
  broker.onRequest = () => {};
  const first = client.invoke({ ...RULE, payload: '1', timeoutMs: 20_000 });
  await until(() => broker.requests.length === 1, { what: 'the request' });
  broker.kill();
  await until(() => !client.connected, { what: 'the loss to be noticed' });
  const second = client.invoke({ ...RULE, payload: '2', timeoutMs: 20_000 });
  broker.requests.length = 0;
  broker.onRequest = echo;
  await broker.open();
  assert.equal((await first.outcome).verdict, 'ok');
  assert.equal((await second.outcome).verdict, 'ok');
  assert.deepEqual(
    broker.requests.map(({ payload, resume }) => [payload.toString(), resume]),
    [
      ['1', true],
      ['2', false],
    ],
  );
  assert.ok((broker.requests[0] as FakeRequest).timeoutMs < 20_000, 'only what is left of the time limit is sent');
});

test('a call that was cancelled while its broker was lost is cancelled at the next one', async (t) => {
  const { client, broker } = await connect(t);
  broker.onRequest = () => {};
  const invocation = client.invoke({ ...RULE, payload: '', timeoutMs: 20_000 });
  await until(() => broker.requests.length === 1, { what: 'the request' });
  broker.kill();
  await until(() => !client.connected, { what: 'the loss to be noticed' });
  invocation.cancel();
  broker.onCancel = (peer, call) => peer.result(call, { verdict: Verdict.cancelled, error: 'TFS_CANCELLED' });
  await broker.open();
  assert.equal((await invocation.outcome).verdict, 'cancelled');
  assert.equal(broker.requests.length, 2);
});

test('a draining broker finishes what it has; new calls go elsewhere', async (t) => {
  const { client, primary, other } = await pair(t);
  primary.onRequest = (request) => (request.payload.toString() === 'new' ? echo(request) : undefined);
  const running = client.invoke({ ...RULE, payload: 'running' });
  await until(() => primary.requests.length === 1, { what: 'the request' });
  primary.sessions[0]?.drain();
  await until(async () => (await client.invoke({ ...RULE, payload: 'new' }).outcome) && other.requests.length > 0, { what: 'the change' });
  const { peer, call } = primary.requests[0] as FakeRequest;
  peer.result(call, { exitCode: 3, verdict: Verdict.failed });
  assert.equal((await running.outcome).exitCode, 3);
});

test('what a draining broker turns away is done by the next one', async (t) => {
  const { client, primary, other } = await pair(t);
  primary.onRequest = ({ peer, call }) => {
    peer.drain();
    peer.result(call, { verdict: Verdict.busy, error: 'TFS_DRAINING', worker: 0 });
  };
  assert.equal((await client.invoke({ ...RULE, payload: 'x' }).outcome).verdict, 'ok');
  assert.deepEqual(
    other.requests.map(({ payload, resume }) => [payload.toString(), resume]),
    [['x', false]],
  );
});

test('what the only broker turns away until the deadline was not lost', async (t) => {
  const { client, broker } = await connect(t);
  broker.onRequest = ({ peer, call }) => {
    peer.drain();
    peer.result(call, { verdict: Verdict.busy, error: 'TFS_DRAINING', worker: 0 });
  };
  const outcome = await client.invoke({ ...RULE, payload: 'x', timeoutMs: 300 }).outcome;
  assert.deepEqual([outcome.verdict, outcome.error], ['no-worker', 'TFS_NO_BROKER']);
  assert.equal(broker.requests.length, 1);
});

test('what was begun and ended with its worker is not sent again', async (t) => {
  const { client, primary, other } = await pair(t);
  primary.onRequest = ({ peer, call }) => {
    peer.manifest(call, [1]);
    peer.result(call, { verdict: Verdict.failed, error: 'TFS_DRAINING', detail: 'this worker shut down before the run had ended' });
  };
  const outcome = await client.invoke({ ...RULE, payload: 'x' }).outcome;
  assert.deepEqual([outcome.verdict, outcome.error], ['failed', 'TFS_DRAINING']);
  assert.equal(other.requests.length, 0);
});

test('whoever wants to hear of losses decides when a call goes out again; what was turned away does not count', async (t) => {
  const { client, primary, other } = await pair(t);
  primary.onRequest = () => undefined;
  const lost: [number, boolean][] = [];
  const outcome = Promise.withResolvers<Outcome>();
  const handlers = {
    lost: (call: Call) => void lost.push([call.sends, call.held]),
    done: (_call: Call, given: Outcome) => outcome.resolve(given),
  };
  const call = client.route(RULE).send(Buffer.from('x'), handlers, { once: true, timeoutMs: 20_000 });
  await until(() => primary.requests.length === 1, { what: 'the request' });
  assert.equal(primary.requests[0]?.once, true);
  primary.kill();
  await until(() => lost.length === 1, { what: 'the loss is told' });
  assert.deepEqual(lost, [[1, true]]);
  await client.invoke({ ...RULE, payload: 'free' }).outcome;
  assert.deepEqual(
    other.requests.map(({ payload }) => payload.toString()),
    ['free'],
  );
  other.requests.length = 0;
  other.onRequest = (request) => {
    if (other.requests.length > 1) return echo(request);
    request.peer.result(request.call, { verdict: Verdict.busy, error: 'TFS_DRAINING', worker: 0 });
  };
  call.resend();
  assert.equal((await outcome.promise).verdict, 'ok');
  assert.equal(call.held, false);
  assert.deepEqual(
    other.requests.map(({ resume, once }) => [resume, once]),
    [
      [true, true],
      [true, true],
    ],
  );
  assert.equal(call.sends, 2);
});

test('stopping ends a start that is still waiting', async (t) => {
  const [broker] = (await startBrokers(t, 1)) as [FakeBroker];
  broker.kill();
  const client = makeClient(t, [broker], { startMs: 60_000 });
  const start = assert.rejects(client.start(), { code: 'TFS_CANCELLED' });
  await new Promise((resolve) => setTimeout(resolve, 20));
  await client.stop();
  await start;
});

test('ordered calls do not overtake those that a draining broker still works on', async (t) => {
  const { client, primary, other } = await pair(t);
  primary.onRequest = (request) => (request.payload.toString() === 'new' ? echo(request) : undefined);
  const route = client.route({ ...RULE, ordered: true });
  const done: unknown[] = [];
  const handlers = { done: (call: Call) => void done.push(call.tag) };
  route.send(Buffer.from('1'), handlers, { tag: 1 });
  await until(() => primary.requests.length === 1, { what: 'the request' });
  primary.sessions[0]?.drain();
  await until(async () => (await client.invoke({ ...RULE, payload: 'new' }).outcome) && other.requests.length > 0, { what: 'the change' });
  other.requests.length = 0;
  route.send(Buffer.from('2'), handlers, { tag: 2 });
  route.send(Buffer.from('3'), handlers, { tag: 3 });
  await new Promise((resolve) => setTimeout(resolve, 150));
  assert.equal(other.requests.length, 0);
  const { peer, call } = primary.requests[0] as FakeRequest;
  peer.result(call);
  await until(() => done.length === 3, { what: 'all three' });
  assert.deepEqual(done, [1, 2, 3]);
});

test('a third broker takes the place of a lost one', async (t) => {
  const { client, brokers } = await connect(t, 3);
  const connected = (): FakeBroker[] => brokers.filter(({ sessions }) => sessions.length > 0);
  await until(() => connected().length === 2, { what: 'two sessions' });
  const [first] = connected() as [FakeBroker];
  const unused = brokers.find(({ sessions }) => sessions.length === 0) as FakeBroker;
  first.kill();
  await until(() => unused.sessions.length === 1, { what: 'a session on the third broker' });
  assert.equal((await client.invoke({ ...RULE, payload: '' }).outcome).verdict, 'ok');
});

test('a broker that joins is used without a new start, one that leaves the list is left when it fails', async (t) => {
  const [first, second] = (await startBrokers(t, 2)) as [FakeBroker, FakeBroker];
  first.fleet = [first.address];
  const client = makeClient(t, [first]);
  await client.start();
  assert.equal(second.sessions.length, 0);
  first.sessions[0]?.json(RecordType.brokers, { brokers: [first.address, second.address] });
  await until(() => second.sessions.length === 1, { what: 'a session on the broker that joined' });
  first.sessions[0]?.json(RecordType.brokers, { brokers: [second.address] });
  await until(async () => (await client.invoke({ ...RULE, payload: '' }).outcome).verdict === 'ok', { what: 'an answer' });
  first.kill();
  assert.equal((await client.invoke({ ...RULE, payload: '' }).outcome).verdict, 'ok');
  assert.equal(second.requests.length >= 1, true);
});

test('start fails when no broker answers, and says why', async (t) => {
  const [broker] = (await startBrokers(t, 1)) as [FakeBroker];
  broker.kill();
  const client = makeClient(t, [broker], { startMs: 300 });
  await assert.rejects(client.start(), { code: 'TFS_NO_BROKER', message: /within 300 ms: connection/ });
});

test('a silent broker is passed over for another one', async (t) => {
  const brokers = await startBrokers(t, 2);
  let hellos = 0;
  for (const broker of brokers) {
    broker.onHello = () => {
      hellos += 1;
      return hellos > 1;
    };
  }
  const client = makeClient(t, brokers, { sessions: 1 });
  await client.start();
  assert.equal(hellos, 2);
});

test('a broker with another key than the login says is no broker of ours', async (t) => {
  const [broker, other] = (await startBrokers(t, 2)) as [FakeBroker, FakeBroker];
  const impostor = { ...broker.address, publicKey: other.address.publicKey };
  assert.notEqual(fakeLogin([impostor]).brokers[0]?.publicKey, broker.address.publicKey);
  const client = makeClient(t, [{ address: impostor } as FakeBroker], { startMs: 500 });
  await assert.rejects(client.start(), { code: 'TFS_NO_BROKER' });
  assert.equal(broker.peers.size, 0);
});
