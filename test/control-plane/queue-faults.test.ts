import assert from 'node:assert/strict';
import { test } from 'node:test';
import pg from 'pg';
import { Verdict } from '../../protocol/verdicts.ts';
import { DatabaseProxy } from '../support/database-proxy.ts';
import { FakeWorker } from '../support/fake-worker.ts';
import { until } from '../support/wait.ts';
import { QueueStage } from './queue-stage.ts';

const SENDS = `select sum(a.sends)::integer as sends, count(*)::integer as attempts, count(*) filter (where a.late)::integer as late
  from triggerfs.queue_attempts a where a.item_id = $1`;

test('a broker is lost while the database takes nothing: the request goes out once more only when that is noted', async (t) => {
  const stage = await QueueStage.start(t);
  const second = await stage.world.broker('second');
  const person = await stage.world.addWorker(stage.owner, 's01');
  await stage.world.addService(stage.owner, 's', { workers: [person] });
  const worker = await FakeWorker.connect(t, stage.world, person, [stage.broker, second], {
    plugins: ['p'],
    onTask: (task) => task.started(),
  });
  const id = await stage.enqueue();
  await until(() => worker.tasks.length === 1, { what: 'it runs' });
  const holder = stage.broker.dispatcher.openRuns === 1 ? stage.broker : second;
  await until(async () => (await stage.item(id)).attempts[0]?.worker === 's01', { what: 'its worker is noted' });
  const lock = new pg.Client({ connectionString: stage.world.url });
  await lock.connect();
  t.after(() => lock.end());
  await lock.query('begin; lock table triggerfs.queue_attempts in exclusive mode');
  await holder.stop();
  // The note waits for the lock; without it the request would have gone out in milliseconds.
  const waits = `select from pg_locks where not granted and relation = 'triggerfs.queue_attempts'::regclass`;
  await until(async () => (await lock.query(waits)).rowCount, { what: 'the note waits' });
  assert.equal(worker.tasks.length, 1);
  await lock.query('commit');
  await until(() => worker.tasks.length === 2, { what: 'it goes out again' });
  assert.deepEqual(await stage.api.sql(SENDS, [id]), [{ sends: 2, attempts: 1, late: 0 }]);
  worker.tasks[1]?.result();
  assert.equal((await stage.ended(id)).state, 'done');
});

test('a control-plane that is cut off from the database loses its items, and what it says afterwards changes nothing', async (t) => {
  let proxy: DatabaseProxy | undefined;
  const stage = await QueueStage.start(t, '', async (url) => {
    proxy = await DatabaseProxy.start(t, url);
    return proxy.url;
  });
  const worker = await stage.service('s', (task) => task.started());
  const id = await stage.enqueue();
  await until(() => worker.tasks.length === 1, { what: 'it runs' });
  await until(async () => (await stage.item(id)).attempts[0]?.worker === 's01', { what: 'its worker is noted' });
  proxy?.cut();
  const other = await stage.another();
  // As if its lease of 15 s had ended just now.
  await stage.world.sql.query(`update pgboss.job set heartbeat_on = now() - interval '1 minute'`);
  await until(() => worker.tasks.length === 2, { timeoutMs: 30_000, what: 'the other control-plane asks for it' });
  const [first, again] = worker.tasks;
  assert.equal(first?.invocation, again?.invocation);
  // Both hear of an end: the one that is cut off of the first, and it cannot write it.
  first?.result(Verdict.failed, 9);
  const state = async (): Promise<string | undefined> =>
    (await stage.world.sql.query<{ state: string }>('select state from triggerfs.queue_items where id = $1', [id])).rows[0]?.state;
  assert.equal(await state(), 'running');
  proxy?.heal();
  const counts = async (): Promise<{ sends: number; attempts: number; late: number }> => (await stage.world.sql.query(SENDS, [id])).rows[0];
  await until(async () => (await counts()).late === 1, { timeoutMs: 30_000, what: 'the first end is noted as late' });
  assert.equal(await state(), 'running');
  again?.result(Verdict.ok, 0);
  await until(async () => (await state()) === 'done', { what: 'it is done' });
  assert.deepEqual(await counts(), { sends: 2, attempts: 2, late: 1 });
  assert.ok(other.url !== stage.api.controlPlane.url);
});
