import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { Client } from '../../client/index.ts';
import { Credentials } from '../../runtime/credentials.ts';
import { until } from '../support/wait.ts';
import { FakeApi } from './fake-api.ts';
import type { FakeBroker } from './fake-broker.ts';
import { fakeLogin, release, SILENT, startBrokers } from './support.ts';

const RULE = { service: 'demo', plugin: 'echo' };
const WRONG = { status: 401, code: 'TFS_BAD_CREDENTIALS', detail: 'wrong team, identity or secret' };

/** A client that logs in at a fake control-plane; not started. */
async function loggedIn(t: TestContext, brokers: readonly FakeBroker[]): Promise<{ client: Client; api: FakeApi }> {
  const login = fakeLogin(brokers.map(({ address }) => address));
  const api = await FakeApi.start(() => login);
  const method = { kind: 'user', team: 'demo', identity: 'demo', secret: 'wonderland' } as const;
  const credentials = new Credentials({ api: api.url, method, log: SILENT });
  const client = new Client({ credentials, log: SILENT, agent: 'test' });
  release(t, () => api.stop());
  release(t, async () => {
    await client.stop();
    credentials.stop();
  });
  return { client, api };
}

test('a refused login fails the start at once, with its own code', async (t) => {
  const { client, api } = await loggedIn(t, await startBrokers(t, 1));
  api.login = () => WRONG;
  await assert.rejects(client.start(), { code: 'TFS_BAD_CREDENTIALS', message: 'wrong team, identity or secret' });
});

test('brokers that moved are found through the control-plane', async (t) => {
  const [first, second] = (await startBrokers(t, 2)) as [FakeBroker, FakeBroker];
  first.fleet = [first.address];
  second.fleet = [second.address];
  const { client, api } = await loggedIn(t, [first]);
  await client.start();
  api.login = () => fakeLogin([second.address]);
  first.onRequest = () => {};
  const invocation = client.invoke({ ...RULE, payload: '', timeoutMs: 10_000 });
  await until(() => first.requests.length === 1, { what: 'the request' });
  first.kill();
  assert.equal((await invocation.outcome).verdict, 'ok');
  assert.equal(second.requests[0]?.resume, true);
});

test('an account that is closed while no broker is there ends what waits, and the client recovers when it is opened', async (t) => {
  const [broker] = (await startBrokers(t, 1)) as [FakeBroker];
  const { client, api } = await loggedIn(t, [broker]);
  await client.start();
  const good = api.login;
  api.login = () => WRONG;
  broker.kill();
  await until(() => !client.connected, { what: 'the loss to be noticed' });
  const outcome = await client.invoke({ ...RULE, payload: '', timeoutMs: 20_000 }).outcome;
  assert.deepEqual([outcome.verdict, outcome.error, outcome.exitCode], ['denied', 'TFS_BAD_CREDENTIALS', 77]);
  api.login = good;
  await broker.open();
  await until(() => client.connected, { what: 'a session' });
  assert.equal((await client.invoke({ ...RULE, payload: '' }).outcome).verdict, 'ok');
});

test('a fresh token goes to all sessions', async (t) => {
  const brokers = await startBrokers(t, 2);
  const login = fakeLogin(brokers.map(({ address }) => address));
  const api = await FakeApi.start(() => ({ ...login, edgeToken: 'second-token' }));
  const method = { kind: 'user', team: 'demo', identity: 'demo', secret: 'wonderland' } as const;
  const credentials = new Credentials({ api: api.url, method, session: login, log: SILENT });
  const client = new Client({ credentials, log: SILENT, agent: 'test' });
  release(t, () => api.stop());
  release(t, async () => {
    await client.stop();
    credentials.stop();
  });
  await client.start();
  await until(() => brokers.every(({ sessions }) => sessions.length === 1), { what: 'two sessions' });
  await credentials.refresh();
  await until(() => brokers.every(({ sessions }) => sessions[0]?.renewed === 'second-token'), { what: 'RENEW' });
});

test('brokers that refuse a fresh login end what waits, and the client recovers when they admit it again', async (t) => {
  const [broker] = (await startBrokers(t, 1)) as [FakeBroker];
  const { client } = await loggedIn(t, [broker]);
  await client.start();
  broker.onHello = (peer) => {
    peer.refuse({ code: 'TFS_FORBIDDEN', message: 'not you', hello: false });
    return false;
  };
  broker.kill();
  await broker.open();
  await until(() => !client.connected, { what: 'the loss to be noticed' });
  const { verdict, error, detail } = await client.invoke({ ...RULE, payload: '', timeoutMs: 20_000 }).outcome;
  assert.deepEqual([verdict, error, detail], ['denied', 'TFS_FORBIDDEN', 'the broker refuses the session: not you']);
  broker.onHello = () => true;
  await until(() => client.connected, { what: 'a session', timeoutMs: 20_000 });
});
