import assert from 'node:assert/strict';
import { type IncomingMessage, request } from 'node:http';
import { test } from 'node:test';
import { FairQueue } from '../../control-plane/auth/fair-queue.ts';
import { startControlPlane } from '../../control-plane/server.ts';
import { parseConfig } from '../../runtime/config/index.ts';
import { silentLogger } from '../../runtime/logging.ts';
import { networkOf } from '../../runtime/network.ts';
import { masterKeySection } from '../support/master-key.ts';
import { createDatabase } from '../support/postgres.ts';
import { until } from '../support/wait.ts';
import { COST, Fixture, SECRET } from './fixture.ts';

/** As much as users have: a check takes a fifth of a second. */
const REAL_COST = 12;

interface Login {
  readonly status: number;
  readonly ms: number;
}

async function place(t: { after: (hook: () => unknown) => void }, settings = ''): Promise<Fixture> {
  const databaseUrl = await createDatabase(t);
  const controlPlane = await startControlPlane({
    config: parseConfig(`${masterKeySection()}${settings}`, null),
    databaseUrl,
    log: silentLogger(),
    port: 0,
    passwordCost: COST,
    requestsPerSecond: 1000,
  });
  t.after(() => controlPlane.stop());
  const api = new Fixture(controlPlane, databaseUrl);
  await api.team('a');
  return api;
}

/** A login from another address of this machine, of which 127.0.0.0/8 has plenty. */
function logInFrom(api: Fixture, address: string, identity: string, secret: string, headers: Record<string, string> = {}): Promise<Login> {
  const started = performance.now();
  return new Promise((resolve, reject) => {
    const answered = (answer: IncomingMessage): void => {
      answer.resume().on('end', () => resolve({ status: answer.statusCode ?? 0, ms: performance.now() - started }));
    };
    const options = { method: 'POST', localAddress: address, agent: false, headers: { 'content-type': 'application/json', ...headers } };
    request(new URL('/v1/login', api.controlPlane.url), options, answered)
      .on('error', reject)
      .end(JSON.stringify({ team: 'a', identity, secret }));
  });
}

test('a flood of guesses from many addresses neither locks a user out nor keeps them waiting', async (t) => {
  const api = await place(t);
  await api.sql(`update triggerfs.users set secret_hash = crypt($1, gen_salt('bf', ${REAL_COST})) where identity = 'owner-a'`, [SECRET]);
  const alone = await logInFrom(api, '127.0.0.1', 'owner-a', SECRET);
  const failed = new Set<string>();
  const statuses = new Set<number>();
  let going = true;
  const strangers = Array.from({ length: 20 * 6 }, async (_, i) => {
    const address = `127.0.7.${(i % 20) + 1}`;
    // At the user themselves, and at identities that nobody has, which cost the same.
    for (let guess = 0; going; guess += 1) {
      const { status } = await logInFrom(api, address, guess % 2 === 0 ? 'owner-a' : `nobody-${i}-${guess}`, 'guess');
      statuses.add(status);
      if (status === 401) failed.add(address);
      if (status === 429) return;
    }
  });
  await until(() => failed.size === 20, { timeoutMs: 60_000, what: 'every stranger has guessed wrong' });
  const users = await Promise.all(['127.0.0.1', '127.0.0.2', '127.0.0.3'].map((address) => logInFrom(api, address, 'owner-a', SECRET)));
  going = false;
  for (const { status, ms } of users) {
    assert.equal(status, 200);
    // The guesses that came before them would take fifty times as long as one login.
    assert.ok(ms < 1_000 + 10 * alone.ms, `${ms} ms, ${alone.ms} ms when nobody else is there`);
  }
  await Promise.all(strangers);
  // Wrong, too many, or waited too long; nothing fails in another way.
  for (const status of statuses) assert.ok([401, 429, 503].includes(status), String(status));
  assert.equal((await logInFrom(api, '127.0.0.1', 'owner-a', SECRET)).status, 200);
});

test('clients behind a named proxy are told apart, and others cannot borrow an address', async (t) => {
  const guess = (api: Fixture, from: string, client: string): Promise<Login> =>
    logInFrom(api, from, 'owner-a', 'guess', { 'x-forwarded-for': client });
  const behind = await place(t, '[control-plane]\nproxies = "127.0.0.9, 10.0.0.0/8"\n');
  for (let i = 0; i < 5; i += 1) assert.equal((await guess(behind, '127.0.0.9', '2001:db8::1')).status, 401);
  assert.equal((await guess(behind, '127.0.0.9', '2001:db8::2')).status, 429, 'a /64 counts as one address');
  assert.equal((await logInFrom(behind, '127.0.0.9', 'owner-a', SECRET, { 'x-forwarded-for': '192.0.2.1' })).status, 200);
  for (let i = 0; i < 5; i += 1) assert.equal((await guess(behind, '127.0.0.1', `192.0.2.${i}`)).status, 401);
  assert.equal((await guess(behind, '127.0.0.1', '192.0.2.99')).status, 429, 'nobody else is believed');
});

test('addresses count by themselves, of IPv6 the first half', () => {
  const networks = {
    '192.0.2.1': '192.0.2.1',
    '::ffff:192.0.2.1': '192.0.2.1',
    '::1': '0:0:0:0::/64',
    '2001:db8::1': '2001:db8:0:0::/64',
    '2001:0db8:0000:0000:ffff::1': '2001:db8:0:0::/64',
    'fe80::1%eth0': 'fe80:0:0:0::/64',
  };
  assert.deepEqual(Object.fromEntries(Object.keys(networks).map((address) => [address, networkOf(address)])), networks);
});

test('work takes turns between keys, those without failures first; who waits too long or with too many is refused', async () => {
  const queue = new FairQueue({ concurrency: 1, perKey: 3, waitMs: 200 });
  const order: string[] = [];
  let open = (): void => undefined;
  const first = queue.run('x', false, () => new Promise<void>((resolve) => (open = resolve)));
  const enter = (key: string, suspect: boolean): Promise<void> => queue.run(key, suspect, async () => void order.push(key));
  const others = [enter('bad', true), enter('bad', true), enter('a', false), enter('a', false), enter('b', false), enter('a', false)];
  await assert.rejects(enter('a', false), { code: 'TFS_BUSY' });
  open();
  await Promise.all([first, ...others]);
  assert.deepEqual(order, ['a', 'b', 'a', 'a', 'bad', 'bad']);
  await assert.rejects(
    queue.run('x', false, async () => Promise.reject(new Error('it failed'))),
    /it failed/,
  );
  const long = queue.run('x', false, () => new Promise<void>((resolve) => (open = resolve)));
  await assert.rejects(enter('late', false), { code: 'TFS_BUSY' });
  open();
  await long;
  await enter('again', false);
  assert.equal(order.at(-1), 'again');
});
