import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { Client } from '../../client/index.ts';
import type { BrokerAddress } from '../../protocol/control.ts';
import { BrokerProcess } from '../support/broker-process.ts';
import { DatabaseProxy } from '../support/database-proxy.ts';
import { FakeWorker } from '../support/fake-worker.ts';
import { until } from '../support/wait.ts';
import { type Person, World } from '../support/world.ts';

interface Fleet {
  readonly world: World;
  readonly owner: Person;
  readonly brokers: readonly BrokerProcess[];
  readonly worker: FakeWorker;
  readonly executed: Map<string, number>;
}

/** Three broker processes and one worker that answers each invocation id once and repeats the answer for repeated ids. */
async function fleet(t: TestContext, count = 3): Promise<Fleet> {
  const world = await World.create(t);
  const owner = await world.addTeam('alpha');
  const person = await world.addWorker(owner, 'worker1');
  const service = await world.addService(owner, 'svc', { workers: [person] });
  // The worker here minds no credit, so nothing would keep it from writing more than the database takes.
  await world.sql.query(`update triggerfs.services set history = 'off' where id = $1`, [service]);
  const brokers = await Promise.all(Array.from({ length: count }, (_, i) => BrokerProcess.start(t, world, `broker${i + 1}`)));
  const executed = new Map<string, number>();
  const worker = await FakeWorker.connectTo(t, world, person, brokers.map(address), {
    concurrency: 1000,
    onTask: (task) => {
      executed.set(task.invocation, (executed.get(task.invocation) ?? 0) + 1);
      task.started();
      task.output(task.payload);
      task.result();
    },
  });
  return { world, owner, brokers, worker, executed };
}

function address(broker: BrokerProcess): BrokerAddress {
  return broker.address as BrokerAddress;
}

interface Load {
  readonly verdicts: Map<string, number>;
  readonly pausesMs: number[];
  stop(): Promise<void>;
}

/** Keeps `window` requests on their way and records verdicts and the pauses between answers. */
function load(client: Client, window: number): Load {
  const route = client.route({ service: 'svc', plugin: 'echo' });
  const verdicts = new Map<string, number>();
  const pausesMs: number[] = [];
  let running = true;
  let open = 0;
  let last = performance.now();
  const idle = Promise.withResolvers<void>();
  const send = (): void => {
    open += 1;
    route.send(
      Buffer.from('x'),
      {
        done: (_call, outcome) => {
          const now = performance.now();
          pausesMs.push(now - last);
          last = now;
          verdicts.set(outcome.verdict, (verdicts.get(outcome.verdict) ?? 0) + 1);
          open -= 1;
          if (running) setImmediate(send);
          else if (open === 0) idle.resolve();
        },
      },
      { timeoutMs: 10_000 },
    );
  };
  for (let i = 0; i < window; i += 1) send();
  return {
    verdicts,
    pausesMs,
    stop: async () => {
      running = false;
      await idle.promise;
    },
  };
}

test('SIGKILL of the broker in use: clients go on within a second, and use it again when it is back', async (t) => {
  const { world, owner, brokers } = await fleet(t);
  const client = await world.clientOf(owner, brokers.map(address));
  const running = load(client, 20);
  const answered = (): number => running.pausesMs.length;
  for (const broker of brokers) {
    const before = answered();
    await until(() => answered() > before + 200, { what: 'answers flow' });
    await broker.kill('SIGKILL');
    const after = answered();
    await until(() => answered() > after + 200, { what: `answers flow without ${broker.name}` });
    await broker.start();
  }
  await running.stop();
  assert.deepEqual([...running.verdicts.keys()], ['ok']);
  const worst = Math.max(...running.pausesMs);
  assert.ok(worst <= 1_000, `the longest pause was ${Math.round(worst)} ms`);
});

test('SIGTERM under load loses nothing and the broker exits with 0', async (t) => {
  const { world, owner, brokers, executed } = await fleet(t, 2);
  const client = await world.clientOf(owner, brokers.map(address));
  const running = load(client, 50);
  for (const broker of brokers) {
    const before = running.pausesMs.length;
    await until(() => running.pausesMs.length > before + 300, { what: 'answers flow' });
    assert.equal(await broker.kill('SIGTERM'), 0);
    await broker.start();
    await until(
      async () =>
        (await world.sql.query("select from triggerfs.presence p join triggerfs.brokers b on b.id = p.broker_id where b.state = 'up'"))
          .rowCount === 2,
      {
        what: 'the worker is at both brokers',
      },
    );
  }
  await running.stop();
  assert.deepEqual([...running.verdicts.keys()], ['ok']);
  assert.deepEqual(
    [...executed.values()].filter((times) => times !== 1),
    [],
  );
});

test('a broker that starts later joins by itself: peers are told', async (t) => {
  const { world, owner, brokers } = await fleet(t, 1);
  const client = await world.clientOf(owner, brokers.map(address));
  const late = await BrokerProcess.start(t, world, 'late');
  const { rows } = await world.sql.query<{ count: number }>("select count(*)::int as count from triggerfs.brokers where state = 'up'");
  assert.equal(rows[0]?.count, 2);
  // The client learns of it from its first broker, and needs it when that one dies.
  const person = (await world.sql.query<{ id: number }>('select id from triggerfs.workers')).rows[0] as { id: number };
  await FakeWorker.connectTo(t, world, { id: person.id, teamId: owner.teamId, team: 'alpha', identity: 'worker1', role: 'worker' }, [
    address(late),
  ]);
  await until(
    async () => {
      const outcome = await client.invoke({ service: 'svc', plugin: 'echo', payload: 'x' }).outcome;
      return outcome.verdict === 'ok';
    },
    { what: 'the first broker serves' },
  );
  await brokers[0]?.kill('SIGKILL');
  const outcome = await client.invoke({ service: 'svc', plugin: 'echo', payload: 'x', timeoutMs: 8_000 }).outcome;
  assert.equal(outcome.verdict, 'ok');
});

test('with PostgreSQL down brokers keep routing, and catch up when it is back', async (t) => {
  const world = await World.create(t);
  const owner = await world.addTeam('alpha');
  const person = await world.addWorker(owner, 'worker1');
  const service = await world.addService(owner, 'svc', { workers: [person] });
  const proxy = await DatabaseProxy.start(t, world.url);
  const broker = await BrokerProcess.start(t, world, 'broker', proxy.url);
  await FakeWorker.connectTo(t, world, person, [address(broker)]);
  const client = await world.clientOf(owner, [address(broker)]);
  const ask = async (name = 'svc'): Promise<string> =>
    (await client.invoke({ service: name, plugin: 'echo', payload: 'x' }).outcome).verdict;
  assert.equal(await ask(), 'ok');
  proxy.cut();
  const end = performance.now() + 4_000;
  while (performance.now() < end) assert.equal(await ask(), 'ok');
  await world.sql.query("update triggerfs.services set name = 'renamed' where id = $1", [service]);
  assert.equal(await ask(), 'ok');
  proxy.heal();
  await until(async () => (await ask('renamed')) === 'ok', { timeoutMs: 15_000, what: 'the change arrives after the outage' });
});
