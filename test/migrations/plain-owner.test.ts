import assert from 'node:assert/strict';
import { randomBytes, randomUUID } from 'node:crypto';
import { test } from 'node:test';
import pg from 'pg';
import { ensureDemo } from '../../control-plane/bootstrap.ts';
import { startControlPlane } from '../../control-plane/server.ts';
import { parseConfig } from '../../runtime/config/index.ts';
import { silentLogger } from '../../runtime/logging.ts';
import { COST, Fixture, SECRET } from '../control-plane/fixture.ts';
import { masterKeySection } from '../support/master-key.ts';
import { createEmptyDatabase } from '../support/postgres.ts';

test('everything works for a database owner who is no superuser', async (t) => {
  const superuser = await createEmptyDatabase(t);
  const role = `owner_${randomBytes(4).toString('hex')}`;
  const database = new URL(superuser).pathname.slice(1);
  const admin = new pg.Client({ connectionString: superuser });
  await admin.connect();
  await admin.query(`create role ${role} login createrole password 'owner'`);
  // A cluster that served another installation before has the roles already; their admin must let the new owner in.
  await admin.query(`do $$ declare r text; begin
    for r in select rolname from pg_roles where rolname in ('triggerfs_app', 'triggerfs_edge', 'triggerfs_jobs') loop
      execute format('grant %I to ${role} with set true', r);
    end loop; end $$`);
  await admin.query(`alter database ${database} owner to ${role}`);
  const address = new URL(superuser);
  address.username = role;
  address.password = 'owner';

  const controlPlane = await startControlPlane({
    config: parseConfig(masterKeySection(), null),
    databaseUrl: address.href,
    log: silentLogger(),
    port: 0,
    passwordCost: COST,
  });
  t.after(async () => {
    await controlPlane.stop();
    await admin.query(`drop owned by ${role} cascade`);
    await admin.query(`alter database ${database} owner to current_user`);
    await admin.query(`drop role ${role}`);
    await admin.end();
  });
  await ensureDemo({ databaseUrl: address.href, secret: SECRET, workerToken: randomUUID(), logFile: '/demo.log', passwordCost: COST });
  const api = new Fixture(controlPlane, address.href);
  const login = await api.call('POST /v1/login', { body: { team: 'demo', identity: 'demo', secret: SECRET } });
  assert.equal(login.status, 200, login.body.detail);
  const token = String(login.body.apiToken);
  assert.equal((await api.call('POST /v1/workers', { token, body: { identity: 'w' } })).status, 201);
  assert.equal((await api.call('POST /v1/services/demo/workers', { token, body: { worker: 'w' } })).status, 201);
  assert.deepEqual((await api.call('GET /v1/services/demo', { token })).body.workers, ['demo01', 'w']);
  const user = await api.call('POST /v1/users', { token, body: { identity: 'second', secret: SECRET } });
  assert.equal(user.status, 201, user.body.detail);
  assert.equal((await api.call('DELETE /v1/users/second', { token })).status, 204);
  assert.deepEqual(await api.sql(`select from triggerfs.users where identity = 'second'`), []);
  assert.equal((await api.call('DELETE /v1/teams/demo', { token })).status, 204);
  assert.deepEqual(await api.sql('select from triggerfs.triggers'), []);
});
