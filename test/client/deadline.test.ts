import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Call, Outcome } from '../../client/index.ts';
import { until } from '../support/wait.ts';
import { connect } from './support.ts';

const RULE = { service: 'demo', plugin: 'echo' };

test('a call whose broker stays silent ends soon after its deadline, and tells the broker', async (t) => {
  const { client, broker } = await connect(t);
  broker.onRequest = () => {};
  const begun = performance.now();
  const outcome = await client.invoke({ ...RULE, payload: '', timeoutMs: 100 }).outcome;
  const elapsed = performance.now() - begun;
  assert.deepEqual([outcome.verdict, outcome.error, outcome.exitCode], ['timeout', 'TFS_TIMEOUT', 124]);
  assert.ok(elapsed > 1900 && elapsed < 3500, `${elapsed} ms`);
  await until(() => broker.sessions[0]?.cancels[0]?.timeout === true, { what: 'CANCEL with the flag timeout' });
  assert.equal(client.pending, 0);
});

test('calls that were lost and never taken over end at their deadline', async (t) => {
  const { client, broker } = await connect(t);
  broker.onRequest = () => {};
  const sent = client.invoke({ ...RULE, payload: '', timeoutMs: 400 });
  await until(() => broker.requests.length === 1, { what: 'the request' });
  broker.kill();
  await until(() => !client.connected, { what: 'the loss to be noticed' });
  const unsent = client.invoke({ ...RULE, payload: '', timeoutMs: 300 });
  const begun = performance.now();
  assert.deepEqual(
    [await sent.outcome, await unsent.outcome].map(({ verdict, error, exitCode }) => [verdict, error, exitCode]),
    [
      ['worker-lost', 'TFS_BROKER_LOST', 69],
      ['no-worker', 'TFS_NO_BROKER', 69],
    ],
  );
  assert.ok(performance.now() - begun < 600);
});

test('the time limit that the manifest tells replaces an unknown one', async (t) => {
  const { client, broker } = await connect(t);
  broker.onRequest = ({ peer, call }) => peer.manifest(call, [1], { limitMs: 100 });
  const begun = performance.now();
  assert.equal((await client.invoke({ ...RULE, payload: '' }).outcome).verdict, 'timeout');
  assert.ok(performance.now() - begun < 4000);
  assert.equal(broker.requests[0]?.timeoutMs, 0);
});

test('every one of many calls ends exactly once when everything dies', async (t) => {
  const { client, brokers } = await connect(t, 2);
  for (const broker of brokers) broker.onRequest = ({ peer, call, payload }) => (payload.length === 0 ? peer.result(call) : undefined);
  const ends = new Map<Call, Outcome[]>();
  const handlers = { done: (call: Call, outcome: Outcome) => void (ends.get(call) as Outcome[]).push(outcome) };
  const route = client.route(RULE);
  for (let i = 0; i < 3000; i += 1) ends.set(route.send(Buffer.alloc(i % 2), handlers, { timeoutMs: 500 }), []);
  await until(() => brokers.some(({ requests }) => requests.length > 0), { what: 'requests' });
  for (const broker of brokers) broker.kill();
  await until(() => [...ends.values()].every((outcomes) => outcomes.length > 0), { what: 'all outcomes' });
  await new Promise((resolve) => setTimeout(resolve, 100));
  assert.ok([...ends.values()].every((outcomes) => outcomes.length === 1));
  assert.equal(client.pending, 0);
});

test('cancelling before a session opens ends the call at once', async (t) => {
  const { client, broker } = await connect(t);
  broker.kill();
  await until(() => !client.connected, { what: 'the loss to be noticed' });
  const invocation = client.invoke({ ...RULE, payload: '', timeoutMs: 60_000 });
  invocation.cancel();
  assert.equal((await invocation.outcome).error, 'TFS_CANCELLED');
});
