import type { TestContext } from 'node:test';
import { curveKeyPair } from 'zeromq';
import { Client, type ClientOptions } from '../../client/index.ts';
import type { BrokerAddress } from '../../protocol/control.ts';
import type { SessionResponse } from '../../protocol/http/session.ts';
import { Credentials } from '../../runtime/credentials.ts';
import type { Log } from '../../runtime/logging.ts';
import { FakeBroker } from './fake-broker.ts';

const releases = new WeakMap<TestContext, (() => unknown)[]>();

/** Releases something after the test: what came last goes first. */
export function release(t: TestContext, what: () => unknown): void {
  const known = releases.get(t);
  if (known !== undefined) return void known.push(what);
  const list = [what];
  releases.set(t, list);
  t.after(async () => {
    for (const next of list.reverse()) await next();
  });
}

/** Drops everything. */
export const SILENT: Log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };

/** A login that needs no control-plane. */
export function fakeLogin(brokers: readonly BrokerAddress[], lifeSeconds = 600): SessionResponse {
  return {
    apiToken: 'api-token',
    edgeToken: 'edge-token',
    expiresAt: Math.floor(Date.now() / 1000) + lifeSeconds,
    team: 'demo',
    identity: 'demo',
    role: 'owner',
    channelKey: curveKeyPair(),
    brokers: [...brokers],
  };
}

/** Brokers that are killed after the test. */
export async function startBrokers(t: TestContext, count: number): Promise<FakeBroker[]> {
  const brokers = await Promise.all(Array.from({ length: count }, (_, i) => FakeBroker.start(`b${i + 1}`)));
  for (const broker of brokers) {
    broker.fleet = brokers.map(({ address }) => address);
    release(t, () => broker.kill());
  }
  return brokers;
}

/** A client on these brokers, not started; it is stopped after the test. */
export function makeClient(t: TestContext, brokers: readonly FakeBroker[], options: Partial<ClientOptions> = {}): Client {
  const session = fakeLogin(brokers.map(({ address }) => address));
  const credentials = new Credentials({ api: 'http://127.0.0.1:1', method: null, session, log: SILENT });
  const client = new Client({ credentials, log: SILENT, agent: 'test', ...options });
  release(t, async () => {
    await client.stop();
    credentials.stop();
  });
  return client;
}

/** One started client on `count` brokers. */
export async function connect(
  t: TestContext,
  count = 1,
  options: Partial<ClientOptions> = {},
): Promise<{ client: Client; brokers: FakeBroker[]; broker: FakeBroker }> {
  const brokers = await startBrokers(t, count);
  const client = makeClient(t, brokers, options);
  await client.start();
  return { client, brokers, broker: brokers[0] as FakeBroker };
}
