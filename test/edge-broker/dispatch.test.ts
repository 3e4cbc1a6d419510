import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { Call, Client, InvokeRequest, Outcome, RunVerdict } from '../../client/index.ts';
import type { Broker } from '../../edge-broker/broker.ts';
import { ERRORS } from '../../protocol/errors.ts';
import { Verdict } from '../../protocol/verdicts.ts';
import { FakeWorker, type FakeWorkerOptions } from '../support/fake-worker.ts';
import { until } from '../support/wait.ts';
import { type Person, type ServiceSettings, World } from '../support/world.ts';

interface Stage {
  readonly world: World;
  readonly owner: Person;
  readonly broker: Broker;
  readonly client: Client;
  readonly workers: readonly FakeWorker[];
  readonly people: readonly Person[];
}

/** One team, one broker, a client, and a service `svc` with `count` workers. */
async function stage(t: TestContext, count: number, settings: ServiceSettings = {}, options: FakeWorkerOptions = {}): Promise<Stage> {
  const world = await World.create(t);
  const owner = await world.addTeam('alpha');
  const people: Person[] = [];
  for (let i = 1; i <= count; i += 1) people.push(await world.addWorker(owner, `worker${i}`));
  await world.addService(owner, 'svc', { ...settings, workers: people });
  const broker = await world.broker();
  const workers = [];
  for (const person of people) workers.push(await FakeWorker.connect(t, world, person, [broker], options));
  return { world, owner, broker, client: await world.client(owner, [broker]), workers, people };
}

interface Answer {
  readonly verdict: string;
  readonly exitCode: number;
  readonly output: string;
  readonly runs: readonly RunVerdict[];
  readonly expected: readonly string[];
  readonly error: string | null;
  readonly detail: string;
}

async function ask(client: Client, request: Partial<InvokeRequest> = {}): Promise<Answer> {
  const invocation = client.invoke({ service: 'svc', plugin: 'echo', payload: 'hello', ...request });
  let output = '';
  for await (const chunk of invocation) output += chunk.data.toString();
  const outcome = await invocation.outcome;
  const manifest = await invocation.manifest;
  return { ...outcome, output, runs: invocation.verdicts, expected: manifest?.workers ?? [] };
}

test('roundrobin spreads evenly and answers with output, verdict and manifest', async (t) => {
  const { client, workers } = await stage(t, 3);
  const answers = await Promise.all(Array.from({ length: 30 }, (_, i) => ask(client, { payload: `m${i}` })));
  answers.forEach((answer, i) => {
    assert.equal(answer.output, `m${i}`);
    assert.equal(answer.verdict, 'ok');
    assert.equal(answer.runs.length, 1);
  });
  assert.deepEqual(
    workers.map((worker) => worker.tasks.length),
    [10, 10, 10],
  );
});

test('a worker identity is a service of its own', async (t) => {
  const { client, workers } = await stage(t, 2);
  const answer = await ask(client, { service: 'worker2' });
  assert.equal(answer.runs[0]?.worker, 'worker2');
  assert.equal(workers[1]?.tasks.length, 1);
  assert.equal(workers[1]?.tasks[0]?.plan.service, 'worker2');
});

test('mirror runs on all workers at once, with the manifest first', async (t) => {
  const { client, workers } = await stage(t, 3, { algorithm: 'mirror' });
  const answer = await ask(client);
  assert.deepEqual([...answer.expected].sort(), ['worker1', 'worker2', 'worker3']);
  assert.deepEqual(answer.runs.map((run) => run.worker).sort(), ['worker1', 'worker2', 'worker3']);
  assert.equal(answer.output, 'hellohellohello');
  assert.deepEqual(
    workers.map((worker) => worker.tasks.length),
    [1, 1, 1],
  );
});

test('mirror with a worker that is away gives that one no-worker and the others their verdicts', async (t) => {
  const { client, workers, broker, people } = await stage(t, 3, { algorithm: 'mirror' });
  workers[0]?.kill();
  await until(() => !broker.dispatcher.workers.has((people[0] as Person).id), { what: 'the worker is gone' });
  const answer = await ask(client);
  const verdicts = Object.fromEntries(answer.runs.map((run) => [run.worker, run.verdict]));
  assert.deepEqual(verdicts, { worker1: 'no-worker', worker2: 'ok', worker3: 'ok' });
});

test('serial runs in attach order, one at a time', async (t) => {
  const running = new Set<string>();
  let most = 0;
  const order: string[] = [];
  const { client } = await stage(
    t,
    3,
    { algorithm: 'serial' },
    {
      onTask: (task) => {
        task.started();
        running.add(task.invocation + task.plan.plan);
        order.push(task.invocation);
        most = Math.max(most, running.size);
        setTimeout(() => {
          running.clear();
          task.result();
        }, 20);
      },
    },
  );
  const answer = await ask(client);
  assert.equal(most, 1);
  assert.equal(new Set(order).size, 1);
  assert.deepEqual(
    answer.runs.map((run) => run.worker),
    ['worker1', 'worker2', 'worker3'],
  );
});

test('serial stops after max_errors and names those that did not run', async (t) => {
  const { client, workers } = await stage(
    t,
    4,
    { algorithm: 'serial', maxErrors: '2' },
    { onTask: (task) => task.result(Verdict.failed, 3) },
  );
  const answer = await ask(client);
  assert.deepEqual(
    answer.runs.map((run) => run.verdict),
    ['failed', 'failed', 'cancelled', 'cancelled'],
  );
  assert.deepEqual(
    workers.map((worker) => worker.tasks.length),
    [1, 1, 0, 0],
  );
  assert.equal(answer.exitCode, 3);
});

test('a serial window of 50% runs two of four at once', async (t) => {
  let now = 0;
  let most = 0;
  const { client } = await stage(
    t,
    4,
    { algorithm: 'serial', window: '50%' },
    {
      onTask: (task) => {
        now += 1;
        most = Math.max(most, now);
        setTimeout(() => {
          now -= 1;
          task.result();
        }, 20);
      },
    },
  );
  const answer = await ask(client);
  assert.equal(answer.runs.length, 4);
  assert.equal(most, 2);
});

test('nobody online is no-worker, nobody attached too, at once', async (t) => {
  const { client, world, owner, workers, broker } = await stage(t, 1);
  await world.addService(owner, 'empty');
  await until(() => broker.directory.team(owner.teamId)?.services.has('empty'), { what: 'the new service is known' });
  const empty = await ask(client, { service: 'empty' });
  assert.equal(empty.verdict, 'no-worker');
  assert.equal(empty.error, 'TFS_NO_WORKER');
  workers[0]?.kill();
  await until(() => broker.dispatcher.workers.size === 0, { what: 'the worker is gone' });
  const started = performance.now();
  assert.equal((await ask(client)).verdict, 'no-worker');
  assert.ok(performance.now() - started < 500);
});

test('capacity, queue and busy', async (t) => {
  const held: (() => void)[] = [];
  const { client, workers } = await stage(
    t,
    1,
    { queueLimit: 3 },
    { concurrency: 2, onTask: (task) => void held.push(() => task.result()) },
  );
  const answers = Array.from({ length: 7 }, () => ask(client));
  await until(() => workers[0]?.tasks.length === 2, { what: 'two tasks were handed over' });
  const refused = await Promise.all(answers.slice(5));
  assert.deepEqual(
    refused.map((answer) => answer.verdict),
    ['busy', 'busy'],
  );
  assert.equal(refused[0]?.error, 'TFS_BUSY');
  const releasing = setInterval(() => held.shift()?.(), 5);
  const done = await Promise.all(answers.slice(0, 5));
  clearInterval(releasing);
  assert.deepEqual(
    done.map((answer) => answer.verdict),
    ['ok', 'ok', 'ok', 'ok', 'ok'],
  );
  assert.equal(workers[0]?.tasks.length, 5);
});

test('a waiting request does not hold up those that another worker can take', async (t) => {
  const world = await World.create(t);
  const owner = await world.addTeam('alpha');
  const one = await world.addWorker(owner, 'one');
  const two = await world.addWorker(owner, 'two');
  await world.addService(owner, 'svc', { workers: [one, two] });
  const broker = await world.broker();
  await FakeWorker.connect(t, world, one, [broker], { concurrency: 1, plugins: ['slow'], onTask: () => undefined });
  await FakeWorker.connect(t, world, two, [broker], { concurrency: 1, plugins: ['echo'] });
  const client = await world.client(owner, [broker]);
  const stuck = [
    client.invoke({ service: 'svc', plugin: 'slow', payload: '' }),
    client.invoke({ service: 'svc', plugin: 'slow', payload: '' }),
  ];
  for (let i = 0; i < 3; i += 1) assert.equal((await ask(client, { plugin: 'echo' })).verdict, 'ok');
  for (const invocation of stuck) invocation.cancel();
});

test('SIGKILL of a worker: unstarted runs move, started ones end worker-lost, nothing stays open', async (t) => {
  let silent = true;
  const { client, workers, broker } = await stage(
    t,
    3,
    {},
    {
      concurrency: 1000,
      onTask: (task, worker) => {
        if (worker === workers[0] && silent) {
          if (workers[0].tasks.length % 2 === 0) task.started();
          return;
        }
        task.started();
        task.output(task.payload);
        task.result();
      },
    },
  );
  const answers = Array.from({ length: 300 }, (_, i) => ask(client, { payload: String(i) }));
  await until(() => workers[0]?.tasks.length === 100 && workers[1]?.tasks.length === 100, { what: 'the tasks are spread' });
  await until(() => broker.dispatcher.openRuns === 100, { what: 'the others are done' });
  workers[0]?.kill();
  silent = false;
  const done = await Promise.all(answers);
  const count = (verdict: string): number => done.filter((answer) => answer.verdict === verdict).length;
  assert.equal(count('worker-lost'), 50);
  assert.equal(count('ok'), 250);
  assert.equal(done.filter((answer) => answer.runs[0]?.attempt === 1).length, 50);
  assert.equal(broker.dispatcher.openRuns, 0);
});

test('what waits in the queue is never handed to a worker that has just been lost', async (t) => {
  const { client, workers, broker, people } = await stage(t, 2, {}, { concurrency: 2, onTask: () => undefined });
  const answers = Array.from({ length: 10 }, () => client.invoke({ service: 'svc', plugin: 'echo', payload: 'x' }));
  await until(() => workers.every((worker) => worker.tasks.length === 2), { what: 'both workers are full' });
  const [lost, left] = workers as [FakeWorker, FakeWorker];
  left.onTask = (task) => task.result();
  lost.kill();
  await until(() => !broker.dispatcher.workers.has((people[0] as Person).id), { what: 'the worker is missed' });
  for (const task of left.tasks) task.result();
  for (const answer of answers) assert.equal((await answer.outcome).verdict, 'ok');
});

test('failover = always moves started runs too', async (t) => {
  const { client, workers } = await stage(
    t,
    2,
    { failover: 'always' },
    {
      onTask: (task) => {
        task.started();
        if (task.attempt > 0) task.result();
      },
    },
  );
  const answer = ask(client);
  const first = await until(() => workers.find((worker) => worker.tasks.length === 1), { what: 'the task was handed over' });
  first.kill();
  const done = await answer;
  assert.equal(done.verdict, 'ok');
  assert.equal(done.runs[0]?.attempt, 1);
});

test('failover = always without another worker lets the caller ask again', async (t) => {
  const { client, workers } = await stage(t, 1, { failover: 'always' }, { onTask: (task) => task.started() });
  const answer = ask(client);
  await until(() => workers[0]?.tasks.length === 1, { what: 'the task was handed over' });
  workers[0]?.kill();
  const { verdict, error, detail } = await answer;
  assert.deepEqual([verdict, error], ['no-worker', 'TFS_WORKER_LOST']);
  assert.match(detail, /worker1 was lost with the request, which it may have begun/);
});

for (const [failover, starts] of [['unstarted', false] as const, ['always', true] as const]) {
  test(`a request that asks for one run only is not moved (failover = ${failover}), with its caller or without`, async (t) => {
    const onTask: FakeWorkerOptions['onTask'] = (task) => (starts ? task.started() : undefined);
    const { world, owner, broker, client, workers, people } = await stage(t, 2, { failover }, { onTask });
    const route = { service: 'svc', plugin: 'echo' };
    const outcome = Promise.withResolvers<Outcome>();
    const done = { done: (_call: Call, given: Outcome): void => outcome.resolve(given) };
    client.route(route).send(Buffer.from('mine'), done, { once: true, detached: true });
    const gone = await world.client(owner, [broker]);
    gone.route(route).send(Buffer.from('orphan'), { done: () => undefined }, { once: true, detached: true });
    await until(() => workers.every((worker) => worker.tasks.length === 1), { what: 'each worker has one' });
    await gone.stop();
    await until(() => broker.dispatcher.openRuns === 2, { what: 'both runs go on' });
    const [first, second] = workers as [FakeWorker, FakeWorker];
    const loser = first.tasks[0]?.payload.toString() === 'mine' ? first : second;
    loser.kill();
    const { verdict, error } = await outcome.promise;
    assert.deepEqual([verdict, error], ['no-worker', 'TFS_WORKER_LOST']);
    const other = loser === first ? second : first;
    await FakeWorker.connect(t, world, people[loser === first ? 0 : 1] as Person, [broker], { onTask });
    other.kill();
    await until(() => broker.dispatcher.openRuns === 0, { what: 'the orphan ends' });
    assert.equal(first.tasks.length + second.tasks.length, 2);
  });
}

test('a request that asks for one run only goes on when its worker has given it back', async (t) => {
  const { client, workers } = await stage(t, 2, {}, { onTask: () => undefined });
  const outcome = Promise.withResolvers<Outcome>();
  const done = { done: (_call: Call, given: Outcome): void => outcome.resolve(given) };
  client.route({ service: 'svc', plugin: 'echo' }).send(Buffer.from('x'), done, { once: true });
  const holder = await until(() => workers.find((worker) => worker.tasks.length === 1), { what: 'the task was handed over' });
  for (const worker of workers) if (worker !== holder) worker.onTask = (task) => task.result();
  holder.announce(0);
  holder.tasks[0]?.result(Verdict.busy, 0, ERRORS.TFS_DRAINING.number);
  assert.equal((await outcome.promise).verdict, 'ok');
});

test('a worker that drains gives back what it has not started', async (t) => {
  const { client, workers } = await stage(t, 2, {}, { onTask: () => undefined });
  const answer = ask(client);
  const [first, second] = await until(
    () => {
      const holder = workers.findIndex((worker) => worker.tasks.length === 1);
      return holder < 0 ? null : ([workers[holder], workers[1 - holder]] as [FakeWorker, FakeWorker]);
    },
    { what: 'the task was handed over' },
  );
  second.onTask = (task) => task.result();
  first.announce(0);
  first.tasks[0]?.result(Verdict.busy, 0, ERRORS.TFS_DRAINING.number);
  assert.equal((await answer).verdict, 'ok');
});

test('a worker without room, because other brokers use it too, gets the run again soon', async (t) => {
  let full = true;
  const { client, workers } = await stage(
    t,
    1,
    {},
    {
      onTask: (task) => (full ? task.result(Verdict.busy, 0, ERRORS.TFS_BUSY.number) : task.result()),
    },
  );
  const answer = ask(client);
  await until(() => (workers[0]?.tasks.length ?? 0) >= 2, { what: 'it is tried again' });
  full = false;
  const done = await answer;
  assert.equal(done.verdict, 'ok');
  assert.equal(done.runs[0]?.attempt, 0);
});

test('cancel reaches the worker, and its verdict the caller; a queued request ends at once', async (t) => {
  const { client, workers } = await stage(t, 1, {}, { concurrency: 1, onTask: (task) => task.started() });
  const running = client.invoke({ service: 'svc', plugin: 'echo', payload: '' });
  await until(() => workers[0]?.tasks.length === 1, { what: 'the task was handed over' });
  const queued = client.invoke({ service: 'svc', plugin: 'echo', payload: '' });
  queued.cancel();
  assert.equal((await queued.outcome).verdict, 'cancelled');
  running.cancel();
  const task = await until(() => workers[0]?.tasks.find((candidate) => candidate.cancelled), { what: 'the cancel arrives' });
  assert.equal(task.timedOut, false);
  task.result(Verdict.cancelled);
  assert.equal((await running.outcome).verdict, 'cancelled');
});

test('a caller that vanishes cancels its runs, detached ones go on with credit', async (t) => {
  const { world, owner, broker, workers } = await stage(t, 1, {}, { onTask: (task) => task.started() });
  const gone = await world.client(owner, [broker]);
  gone.invoke({ service: 'svc', plugin: 'echo', payload: '' });
  gone.route({ service: 'svc', plugin: 'echo' }).send(Buffer.from('keep'), { done: () => undefined }, { detached: true });
  await until(() => workers[0]?.tasks.length === 2, { what: 'both tasks were handed over' });
  await gone.stop();
  const [plain, detached] = ['', 'keep'].map((text) => workers[0]?.tasks.find((task) => task.payload.toString() === text));
  await until(() => plain?.cancelled, { what: 'the plain run is cancelled' });
  assert.equal(detached?.cancelled, false);
  const before = detached?.credit ?? 0;
  detached?.output(Buffer.alloc(10_000));
  await until(() => (detached?.credit ?? 0) >= before, { what: 'credit comes back although nobody reads' });
  detached?.result();
  plain?.result(Verdict.cancelled);
  await until(() => broker.dispatcher.openRuns === 0, { what: 'nothing stays open' });
});

test('the broker ends what its worker forgets, soon after the deadline', async (t) => {
  const { client, workers } = await stage(t, 1, {}, { onTask: (task) => task.started() });
  const started = performance.now();
  const answer = await ask(client, { timeoutMs: 300 });
  assert.equal(answer.verdict, 'timeout');
  assert.equal(answer.error, 'TFS_TIMEOUT');
  assert.ok(performance.now() - started < 2_500);
  await until(() => workers[0]?.tasks[0]?.timedOut, { what: 'the worker is told' });
});

test('waiting in a queue ends at the deadline', async (t) => {
  const { client } = await stage(t, 1, {}, { concurrency: 1, onTask: (task) => task.started() });
  const first = client.invoke({ service: 'svc', plugin: 'echo', payload: '', timeoutMs: 5_000 });
  const answer = await ask(client, { timeoutMs: 200 });
  assert.equal(answer.verdict, 'busy');
  assert.equal(answer.error, 'TFS_BUSY');
  first.cancel();
});

test('work that nobody waits for gets all of its time, however long it queued', async (t) => {
  const { client, workers } = await stage(t, 1, { timeoutMs: 1_000 }, { concurrency: 1, onTask: (task) => task.started() });
  const route = client.route({ service: 'svc', plugin: 'echo' });
  for (let i = 0; i < 2; i += 1) route.send(Buffer.from(String(i)), { done: () => undefined }, { detached: true, timeoutMs: 1_000 });
  const [first] = await until(() => workers[0]?.tasks.length === 1 && workers[0].tasks, { what: 'the first task' });
  await new Promise((resolve) => setTimeout(resolve, 600));
  first?.result();
  await until(() => workers[0]?.tasks.length === 2, { what: 'the second task' });
  assert.equal(workers[0]?.tasks[1]?.timeoutMs, 1_000);
  workers[0]?.tasks[1]?.result();
});

test('a cancelled run is not moved to another worker', async (t) => {
  const { client, workers } = await stage(t, 2, { failover: 'always' }, { onTask: (task) => task.started() });
  const invocation = client.invoke({ service: 'svc', plugin: 'echo', payload: 'x' });
  const holder = await until(() => workers.find((worker) => worker.tasks.length === 1), { what: 'the task was handed over' });
  invocation.cancel();
  await until(() => holder.tasks[0]?.cancelled, { what: 'the cancel arrives' });
  holder.kill();
  assert.equal((await invocation.outcome).verdict, 'cancelled');
  assert.equal(
    workers.reduce((sum, worker) => sum + worker.tasks.length, 0),
    1,
  );
});

test('workers forget plans of routes that closed while a run waited', async (t) => {
  const { world, owner, broker, workers } = await stage(t, 1, {}, { concurrency: 1, onTask: (task) => task.started() });
  const gone = await world.client(owner, [broker]);
  const route = gone.route({ service: 'svc', plugin: 'echo' });
  for (let i = 0; i < 2; i += 1) route.send(Buffer.from('x'), { done: () => undefined }, { detached: true });
  await until(() => workers[0]?.tasks.length === 1, { what: 'the first task' });
  await gone.stop();
  await until(() => workers[0]?.forgotten.length === 1, { what: 'the plan is forgotten' });
  workers[0]?.tasks[0]?.result();
  await until(() => workers[0]?.tasks.length === 2, { what: 'the waiting task' });
  workers[0]?.tasks[1]?.result();
  await until(() => workers[0]?.forgotten.length === 2, { what: 'the plan is forgotten again' });
});

test('workers hear about their services without a restart, and new members get work', async (t) => {
  const { world, owner, client, workers, people, broker } = await stage(t, 1);
  await until(() => workers[0]?.configs.some((services) => services.includes('svc')), { what: 'CONFIG names svc' });
  const id = await world.addService(owner, 'later');
  await world.attach(owner, id, people[0] as Person);
  await until(() => workers[0]?.configs.at(-1)?.includes('later'), { timeoutMs: 2_000, what: 'CONFIG names later' });
  await until(() => broker.directory.team(owner.teamId)?.services.get('later')?.workerIds.length === 1, { what: 'the broker knows' });
  assert.equal((await ask(client, { service: 'later' })).verdict, 'ok');
});

test('presence and hits are written in bulk', async (t) => {
  const { world, owner, client, people } = await stage(t, 2);
  await until(async () => (await world.sql.query('select from triggerfs.presence')).rowCount === 2, { what: 'presence rows' });
  const { rows } = await world.sql.query<{ id: number }>(
    `with d as (insert into triggerfs.directories (team_id, path) values ($1, '/d') returning id)
     insert into triggerfs.triggers (team_id, directory_id, name) select $1, id, 'file' from d returning id`,
    [owner.teamId],
  );
  const trigger = (rows[0] as { id: number }).id;
  const route = client.route({ service: 'svc', plugin: 'echo', trigger });
  await until(
    async () => {
      await new Promise<void>((resolve) => route.send(Buffer.from('x'), { done: () => resolve() }));
      return (await world.sql.query('select from triggerfs.trigger_hits where hits > 0 and trigger_id = $1', [trigger])).rowCount === 1;
    },
    { what: 'hits are counted' },
  );
  assert.equal(people.length, 2);
});
