import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Database } from '../../control-plane/database.ts';
import { repairQueue } from '../../control-plane/jobs/tasks.ts';
import { sweepFires } from '../../control-plane/schedules/retention.ts';
import { silentLogger } from '../../runtime/logging.ts';
import { createPool } from '../../runtime/postgres/pool.ts';
import { startFixture } from './fixture.ts';

/** More than one statement deletes. */
const MANY = 12_000;

test('more than one statement can delete is forgotten in several', async (t) => {
  const api = await startFixture(t);
  const pool = createPool({ url: api.databaseUrl, role: 'triggerfs_jobs', max: 1, name: 'test', log: silentLogger() });
  t.after(() => pool.end());
  const run = async (task: ReturnType<typeof sweepFires>): Promise<void> => {
    await task({}, {} as Parameters<typeof task>[1]);
  };
  await api.sql(`insert into triggerfs.schedules (team_id, name) select id, 'often' from triggerfs.teams where name = 'a'`);
  await api.sql(
    `insert into triggerfs.schedule_fires (schedule_id, team_id, due_at, fired_at, outcome)
     select s.id, s.team_id, now() - n * interval '1 s', now() - case when n = 1 then interval '1 day' else interval '31 days' end, 'fired'
     from triggerfs.schedules s, generate_series(1, $1::integer) n`,
    [MANY],
  );
  await run(sweepFires(new Database(pool)));
  assert.equal((await api.sql('select from triggerfs.schedule_fires')).length, 1);
  await api.sql(
    `insert into triggerfs.queue_items (id, team_id, source, service, plugin, due_at, expires_at, state, ended_at)
     select overlay(gen_random_uuid()::text placing '01000000-0000-7' from 1 for 15)::uuid, 1, 'api', 's', 'p', now(), now(),
       case when n <= 3 then 'dead' else 'done' end, now() - case when n <= 2 then interval '8 days' else interval '31 days' end
     from generate_series(1, $1::integer) n`,
    [MANY],
  );
  await run(repairQueue(new Database(pool)));
  assert.equal((await api.sql('select from triggerfs.queue_items')).length, 2, 'dead letters stay for a month');
});
