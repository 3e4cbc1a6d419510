import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { PlanView } from '../../protocol/http/plan.ts';
import { Verdict } from '../../protocol/verdicts.ts';
import { until } from '../support/wait.ts';
import { QueueStage } from './queue-stage.ts';

const FULL = 'the plan free allows 3 waiting invocations in a team, and the team a has 3';

/** A stage whose team may have two schedules and three waiting invocations; its service has no worker, so they go on waiting. */
async function limited(t: TestContext): Promise<QueueStage> {
  const stage = await QueueStage.start(t);
  await stage.world.addService(stage.owner, 's', { workers: [] });
  await stage.world.sql.query(
    "update triggerfs.plans set schedules = 2, queued = 3, services = null, triggers = null, users = null, workers = null where name = 'free'",
  );
  await stage.world.sql.query("update triggerfs.teams set plan = 'free' where name = 'a'");
  return stage;
}

async function waiting(stage: QueueStage): Promise<number> {
  return (await stage.world.sql.query("select count(*)::integer as n from triggerfs.queue_items where state = 'queued'")).rows[0].n;
}

test('no more invocations wait than the plan allows, through whichever door they come', async (t) => {
  const stage = await limited(t);
  const { sql } = stage.world;
  const later = { delay: '1h' };
  const first = await stage.accept(later, 'first');
  await stage.accept(later);
  await stage.accept(later);
  const refused = await stage.accept(later);
  assert.deepEqual([refused.status, refused.body.code, refused.body.detail], [409, 'TFS_LIMIT', FULL]);
  await assert.rejects(sql.query("select triggerfs.invoke('s', 'p', 'x')"), (error: Error & { code: string }) => {
    assert.deepEqual([error.code, error.message], ['TF001', FULL]);
    return true;
  });
  // What is there already takes no room.
  const again = await stage.accept(later, 'first');
  assert.deepEqual([again.status, again.body.id, again.body.existing], [202, first.body.id, true]);
  const plan = (await stage.api.call('GET /v1/plan', { token: stage.token })).body as unknown as PlanView;
  assert.deepEqual(plan.limits.slice(-2), [
    { resource: 'schedules', used: 0, limit: 2 },
    { resource: 'queued', used: 3, limit: 3 },
  ]);
  await stage.api.call(`DELETE /v1/invocations/${first.body.id}`, { token: stage.token });
  assert.equal((await stage.accept(later)).status, 202, 'there is room again');
  const redriven = await stage.api.call(`POST /v1/invocations/${first.body.id}/redrive`, { token: stage.token });
  assert.deepEqual([redriven.status, redriven.body.code, redriven.body.detail], [409, 'TFS_LIMIT', FULL]);
  await sql.query("update triggerfs.teams set plan = 'unlimited' where name = 'a'");
  assert.equal((await stage.accept(later)).status, 202);
});

test('of many at once as many come in as there is room for, and other teams are not held up', async (t) => {
  const stage = await limited(t);
  const answers = await Promise.all(Array.from({ length: 40 }, () => stage.accept({ delay: '1h' })));
  const taken = answers.filter(({ status }) => status === 202).length;
  // Two statements may count at the same moment.
  assert.ok(taken >= 3 && taken <= 6, `${taken} were accepted`);
  assert.ok(answers.every(({ status, body }) => status === 202 || body.code === 'TFS_LIMIT'));
  assert.equal(await waiting(stage), taken);
  await assert.rejects(
    stage.world.sql.query(
      "select triggerfs.enqueue((select jsonb_agg(jsonb_build_object('team', t.id, 'source', 'sql', 'service', 's', 'plugin', 'p')) from triggerfs.teams t, generate_series(1, 4) where t.name = 'a'), array_fill(''::bytea, array[4]))",
    ),
    /the plan free allows 3 waiting invocations/,
  );
});

test('a slot that the plan has no room for is skipped, with the reason; a schedule that is run by hand is refused', async (t) => {
  const stage = await limited(t);
  const { sql } = stage.world;
  const make = (name: string): Promise<unknown> =>
    sql.query(
      "insert into triggerfs.schedules (team_id, name, every, service, plugin, overlap) select id, $1, '1s', 's', 'p', 'allow' from triggerfs.teams where name = 'a'",
      [name],
    );
  await make('one');
  await make('two');
  await assert.rejects(make('three'), { code: 'TF001', message: 'the plan free allows 2 schedules in a team, and the team a has 2' });
  const third = await stage.api.call('POST /v1/schedules', {
    token: stage.token,
    body: { name: 'three', cron: '0 3 * * *', service: 's', plugin: 'p' },
  });
  assert.deepEqual([third.status, third.body.code], [409, 'TFS_LIMIT']);
  const skipped = await until(
    async () => (await sql.query("select invocation_id, reason from triggerfs.schedule_fires where outcome = 'skipped' limit 1")).rows[0],
    { timeoutMs: 30_000, what: 'a skipped slot' },
  );
  assert.deepEqual(skipped, { invocation_id: null, reason: 'as many invocations wait as the plan of the team allows' });
  assert.ok((await waiting(stage)) <= 4, 'no more wait');
  const { rows } = await sql.query("select id from triggerfs.schedules where name = 'one'");
  const run = await stage.api.call(`POST /v1/schedules/${rows[0].id}/run`, { token: await stage.api.tokenOf('owner') });
  assert.deepEqual([run.status, run.body.code], [409, 'TFS_LIMIT']);
});

test('a follow-up that the plan has no room for is left out, and a letter says so', async (t) => {
  const stage = await QueueStage.start(t);
  await stage.service('s', (task) => task.result(Verdict.ok, 0));
  const { sql } = stage.world;
  await sql.query(
    "update triggerfs.plans set queued = 0, services = null, triggers = null, users = null, workers = null where name = 'free'",
  );
  await stage.api.call('POST /v1/directories', { token: stage.token, body: { path: '/d' } });
  await stage.api.call('POST /v1/triggers', { token: stage.token, body: { path: '/d/next', service: 's', plugin: 'p' } });
  const id = await stage.enqueue({ payload: 'x', delay: '1s', onSuccess: { trigger: '/d/next' } });
  await sql.query("update triggerfs.teams set plan = 'free' where name = 'a'");
  assert.equal((await stage.ended(id)).state, 'done');
  const letter = await until(async () => (await sql.query("select body from triggerfs.mails where kind = 'queue'")).rows[0], {
    what: 'the letter',
  });
  assert.match(letter.body, /as many waiting invocations as its plan allows/);
});
