import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Database } from '../../control-plane/database.ts';
import { sweepFleet } from '../../control-plane/jobs/tasks.ts';
import { KeyRing } from '../../control-plane/keys/key-ring.ts';
import { startControlPlane } from '../../control-plane/server.ts';
import { parseConfig } from '../../runtime/config/index.ts';
import { silentLogger } from '../../runtime/logging.ts';
import { createPool } from '../../runtime/postgres/pool.ts';
import { keyIdOf } from '../../runtime/tokens.ts';
import { masterKeySection } from '../support/master-key.ts';
import { createDatabase } from '../support/postgres.ts';
import { until } from '../support/wait.ts';
import { Fixture, startFixture } from './fixture.ts';

test('several control-planes that start at once share one set of keys', async (t) => {
  const databaseUrl = await createDatabase(t);
  const options = { config: parseConfig(masterKeySection(), null), databaseUrl, log: silentLogger(), port: 0, passwordCost: 4 };
  const started = await Promise.all([1, 2, 3].map(() => startControlPlane(options)));
  t.after(() => Promise.all(started.map((one) => one.stop())));
  const apis = started.map((one) => new Fixture(one, databaseUrl));
  const [first, second] = apis;
  assert.ok(first !== undefined && second !== undefined);
  assert.equal((await first.sql('select from triggerfs.signing_keys')).length, 1);
  assert.equal((await first.sql('select from triggerfs.channel_keys')).length, 1);
  await first.team('a');
  const token = await first.tokenOf('owner');
  assert.equal((await second.call('GET /v1/whoami', { token })).status, 200);
});

test('keys are replaced before they end, overlap, and are removed afterwards', async (t) => {
  const api = await startFixture(t);
  const pool = createPool({ url: api.databaseUrl, role: 'triggerfs_app', max: 2, name: 'test', log: silentLogger() });
  t.after(() => pool.end());
  const ring = new KeyRing(new Database(pool), silentLogger());
  const kids = async (): Promise<string[]> =>
    (await api.sql<{ kid: string }>('select kid from triggerfs.signing_keys order by created_at')).map((row) => row.kid);
  const old = await api.logIn('owner');
  await ring.rotate();
  assert.equal((await kids()).length, 1, 'a young key stays');

  await api.sql(`update triggerfs.signing_keys set created_at = now() - interval '29.5 days', retires_at = now() + interval '12 hours'`);
  await api.sql(`update triggerfs.channel_keys set created_at = now() - interval '25 hours'`);
  await ring.rotate();
  const [first, second] = await kids();
  assert.ok(first !== undefined && second !== undefined);
  assert.equal(ring.signer.kid, first, 'the successor spreads first');
  assert.equal(ring.channelKey.publicKey, old.channelKey.publicKey);
  assert.equal((await api.sql('select from triggerfs.channel_keys')).length, 2);

  await api.sql(`update triggerfs.signing_keys set created_at = created_at - interval '1 minute'`);
  await api.sql(`update triggerfs.channel_keys set created_at = created_at - interval '1 minute'`);
  await ring.refresh();
  assert.equal(ring.signer.kid, second);
  assert.notEqual(ring.channelKey.publicKey, old.channelKey.publicKey);
  const [owner] = await api.sql<{ id: number; team: number }>(
    `select user_id as id, team_id as team from triggerfs.memberships join triggerfs.users on id = user_id where identity = 'owner-a'`,
  );
  assert.ok(owner !== undefined);
  const now = Math.floor(Date.now() / 1000);
  const sid = crypto.randomUUID();
  const claims = {
    kind: 'user',
    sub: String(owner.id),
    team: owner.team,
    teamName: 'a',
    identity: 'owner-a',
    role: 'owner',
    epoch: 1,
    sid,
  } as const;
  const fresh = ring.signer.sign({ ...claims, auth: now, exp: now + 60 }, 'triggerfs-api');
  assert.equal(keyIdOf(fresh), second);
  const seen = await until(async () => (await api.call('GET /v1/whoami', { token: fresh })).status === 200, {
    what: 'the other control-plane reads a key that it does not know yet',
  });
  assert.ok(seen);
  assert.equal((await api.call('GET /v1/whoami', { token: old.apiToken })).status, 200, 'the old key still verifies');

  await api.sql(`update triggerfs.signing_keys set retires_at = now() - interval '3 hours' where kid = $1`, [first]);
  await api.sql(`update triggerfs.channel_keys set expires_at = now() where public_key = $1`, [old.channelKey.publicKey]);
  await ring.rotate();
  assert.deepEqual(await kids(), [second]);
  assert.equal((await api.sql('select from triggerfs.channel_keys')).length, 1);
});

test('the sweep removes brokers that are gone and ended revocations, and leaves the others', async (t) => {
  const api = await startFixture(t);
  const pool = createPool({ url: api.databaseUrl, role: 'triggerfs_jobs', max: 1, name: 'test', log: silentLogger() });
  t.after(() => pool.end());
  await api.sql(
    `insert into triggerfs.brokers (id, endpoint, public_key, state, beat_at)
     select gen_random_uuid(), 'tcp://' || name, repeat('k', 40), state, now() - age
     from (values ('live', 'up', interval '1 s'), ('silent', 'up', interval '10 min'), ('gone', 'up', interval '2 h'), ('stopped', 'down', interval '6 min'))
       as b (name, state, age)`,
  );
  await api.sql(
    `insert into triggerfs.workers (team_id, identity, token_hash) select id, 'w', sha256('w') from triggerfs.teams where name = 'a'`,
  );
  await api.sql(
    `insert into triggerfs.presence (worker_id, broker_id, team_id, concurrency, version)
     select w.id, b.id, w.team_id, 1, '1' from triggerfs.workers w, triggerfs.brokers b`,
  );
  await api.sql(
    `insert into triggerfs.revoked_sessions (session_id, expires_at) values (gen_random_uuid(), now() - interval '1 s'), (gen_random_uuid(), now() + interval '1 h')`,
  );
  await sweepFleet(new Database(pool))({}, {} as never);
  const brokers = await api.sql<{ endpoint: string }>('select endpoint from triggerfs.brokers order by endpoint');
  assert.deepEqual(
    brokers.map((row) => row.endpoint),
    ['tcp://live', 'tcp://silent'],
  );
  assert.equal((await api.sql('select from triggerfs.presence')).length, 2);
  assert.equal((await api.sql('select from triggerfs.revoked_sessions')).length, 1);
});

test('housekeeping runs tasks from its queue', async (t) => {
  const api = await startFixture(t);
  await api.sql(`insert into triggerfs.revoked_sessions (session_id, expires_at) values (gen_random_uuid(), now() - interval '1 s')`);
  await api.sql(`select graphile_worker.add_job('sweep_fleet')`);
  await until(async () => (await api.sql('select from triggerfs.revoked_sessions')).length === 0, { what: 'the task ran' });
});
