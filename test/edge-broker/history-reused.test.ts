import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Client } from '../../client/index.ts';
import { formatInvocationId, InvocationIds } from '../../runtime/wire/invocation-id.ts';
import { type FakeTask, FakeWorker } from '../support/fake-worker.ts';
import { until } from '../support/wait.ts';
import type { Person } from '../support/world.ts';
import { HistoryStage } from './history-stage.ts';

/** Sends a request under an id of its own choosing. */
function send(client: Client, id: Buffer, payload: string, resume = false): Promise<void> {
  const route = client.route({ service: 'svc', plugin: 'echo' });
  return new Promise((resolve) => route.send(Buffer.from(payload), { done: () => resolve() }, { invocation: id, resume }));
}

async function quiet(stage: HistoryStage): Promise<void> {
  await until(() => stage.broker.history.budget.buffered === 0, { what: 'everything is stored' });
}

/** All that is stored of an invocation. */
async function record(stage: HistoryStage, id: string): Promise<unknown> {
  const { rows } = await stage.world.sql.query('select * from triggerfs.invocations where id = $1', [id]);
  const runs = await stage.world.sql.query('select * from triggerfs.runs where invocation_id = $1 order by worker_id, attempt', [id]);
  return { rows, runs: runs.rows, output: await stage.output(id) };
}

test('an id of an earlier invocation that another member or its own caller takes changes nothing of its record', async (t) => {
  const stage = await HistoryStage.start(t, {
    workers: 2,
    worker: {
      onTask: (task: FakeTask) => {
        task.started();
        task.output(Buffer.concat([task.payload, Buffer.from(` by ${task.plan.caller}`)]));
        task.result();
      },
    },
  });
  const bob = await stage.world.addUser(stage.owner.teamId, 'alpha', 'bob', 'member');
  await until(() => stage.broker.directory.team(stage.owner.teamId)?.members.has(bob.id), { what: 'the member' });
  const other = await stage.world.client(bob, [stage.broker]);
  const id = new InvocationIds().next();
  const text = formatInvocationId(id);
  await send(stage.client, id, 'mine');
  await stage.stored(text);
  await quiet(stage);
  const before = await record(stage, text);
  // To both workers, also as if it was the same request that comes again.
  for (const resume of [false, true]) for (let n = 0; n < 3; n += 1) await send(other, id, 'forged, and longer than before', resume);
  for (let n = 0; n < 3; n += 1) await send(stage.client, id, 'mine, once more, and longer than before');
  await quiet(stage);
  assert.deepEqual(await record(stage, text), before);
  assert.equal(stage.broker.history.budget.counters.droppedInvocations, 0);
  // What has an id of its own is kept as before.
  const fresh = new InvocationIds().next();
  await send(other, fresh, 'of bob');
  assert.equal((await stage.stored(formatInvocationId(fresh))).caller, 'bob');
});

test('while the first one runs, nobody else adds to it', async (t) => {
  const tasks: FakeTask[] = [];
  const stage = await HistoryStage.start(t, {
    workers: 2,
    worker: {
      onTask: (task: FakeTask) => {
        task.started();
        tasks.push(task);
      },
    },
  });
  const bob = await stage.world.addUser(stage.owner.teamId, 'alpha', 'bob', 'member');
  await until(() => stage.broker.directory.team(stage.owner.teamId)?.members.has(bob.id), { what: 'the member' });
  const other = await stage.world.client(bob, [stage.broker]);
  const id = new InvocationIds().next();
  const first = send(stage.client, id, 'mine');
  const mine = await until(() => tasks[0], { what: 'the first run' });
  mine.output('one ');
  await until(async () => (await stage.output(formatInvocationId(id))).length === 1, { what: 'its output is stored' });
  const second = send(other, id, 'forged');
  const forged = await until(() => tasks[1], { what: 'the second run' });
  forged.output('forged');
  forged.result();
  await second;
  await quiet(stage);
  mine.output('two');
  mine.result();
  await first;
  const row = await stage.stored(formatInvocationId(id));
  await quiet(stage);
  assert.deepEqual([row.caller, String(await stage.payload(row))], ['alpha-owner', 'mine']);
  assert.equal((await stage.output(row.id)).map(({ data }) => data.toString()).join(''), 'one two');
  assert.equal((await stage.runs()).length, 1);
});

test('what no worker had taken is kept under the same id when it is sent again, as trigger files do', async (t) => {
  const stage = await HistoryStage.start(t);
  await stage.workers[0]?.stop();
  await until(() => stage.broker.dispatcher.workers.size === 0, { what: 'the worker is gone' });
  const id = new InvocationIds().next();
  await send(stage.client, id, 'again');
  assert.equal((await stage.stored(formatInvocationId(id))).verdict, 'no-worker');
  await FakeWorker.connect(t, stage.world, stage.people[0] as Person, [stage.broker]);
  await send(stage.client, id, 'again');
  const row = await until(async () => (await stage.invocations()).find(({ verdict }) => verdict === 'ok'), { what: 'it is kept' });
  assert.equal(row.id, formatInvocationId(id));
  await quiet(stage);
  assert.equal((await stage.output(row.id)).map(({ data }) => data.toString()).join(''), 'again');
});
