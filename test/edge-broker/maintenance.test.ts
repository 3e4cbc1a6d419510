import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import type { BrokerAddress } from '../../protocol/control.ts';
import { BrokerProcess } from '../support/broker-process.ts';
import { FakeWorker } from '../support/fake-worker.ts';
import { until } from '../support/wait.ts';
import { type Person, World } from '../support/world.ts';

test('a broker drains and ends with 0 when announced maintenance begins, and the next one only at its own time', async (t) => {
  const world = await World.create(t);
  const broker = await BrokerProcess.start(t, world, 'broker');

  /** Announces maintenance; returns how early (negative) or late the broker ended, in milliseconds by the clock of the database. */
  async function endedAfter(seconds: number): Promise<number> {
    const { rows: made } = await world.sql.query<{ id: number }>(`select triggerfs.announce_maintenance('test', $1, null) as id`, [
      seconds,
    ]);
    assert.equal(await broker.ended(), 0);
    const { rows } = await world.sql.query<{ state: string; ms: number }>(
      `select b.state, extract(epoch from clock_timestamp() - m.starts_at)::float8 * 1000 as ms from triggerfs.brokers b, triggerfs.maintenances m where m.id = $1`,
      [made[0]?.id],
    );
    assert.equal(rows[0]?.state, 'down');
    return rows[0].ms;
  }

  const late = await endedAfter(1);
  assert.ok(late >= 0 && late < 5_000, `${late} ms`);
  await broker.start();
  const again = await endedAfter(2);
  assert.ok(again >= 0, `it ended ${-again} ms before its time: for the maintenance that it was started again after`);
});

/** Sends echoes, 20 at once, until `stop`; how they ended, by verdict. */
async function load(world: World, owner: Person, brokers: readonly BrokerAddress[]): Promise<{ stop(): Promise<Record<string, number>> }> {
  const client = await world.clientOf(owner, brokers, { watch: true });
  const verdicts: Record<string, number> = {};
  let running = true;
  const senders = Array.from({ length: 20 }, async () => {
    while (running) {
      const { verdict } = await client.invoke({ service: 'svc', plugin: 'echo', payload: 'x', timeoutMs: 10_000 }).outcome;
      verdicts[verdict] = (verdicts[verdict] ?? 0) + 1;
    }
  });
  return {
    stop: async () => {
      running = false;
      await Promise.all(senders);
      return verdicts;
    },
  };
}

/** Three brokers in processes of their own, and a worker that answers on all of them. */
async function fleet(t: TestContext): Promise<{ world: World; owner: Person; brokers: BrokerProcess[]; addresses: BrokerAddress[] }> {
  const world = await World.create(t);
  const owner = await world.addTeam('alpha');
  const person = await world.addWorker(owner, 'worker1');
  await world.addService(owner, 'svc', { workers: [person] });
  const brokers = await Promise.all([1, 2, 3].map((i) => BrokerProcess.start(t, world, `broker${i}`)));
  const addresses = brokers.map(({ address }) => address as BrokerAddress);
  await FakeWorker.connectTo(t, world, person, addresses, {
    concurrency: 1000,
    onTask: (task) => {
      task.started();
      task.output(task.payload);
      task.result();
    },
  });
  await until(
    async () =>
      (await world.sql.query<{ count: number }>('select count(*)::integer as count from triggerfs.presence')).rows[0]?.count === 3,
    { what: 'the worker is written down at every broker' },
  );
  return { world, owner, brokers, addresses };
}

test('brokers of a fleet drain one after the other, and no request fails', { timeout: 90_000 }, async (t) => {
  const { world, owner, brokers, addresses } = await fleet(t);
  const requests = await load(world, owner, addresses);
  await until(
    async () => {
      const { rows } = await world.sql.query<{ up: boolean }>(
        `select bool_and(started_at < now() - interval '3 s') as up from triggerfs.brokers`,
      );
      return rows[0]?.up === true;
    },
    { what: 'the fleet has stood for a moment' },
  );
  await world.sql.query(`select triggerfs.announce_maintenance('test', 1, null)`);
  const away: { from: number; to: number }[] = [];
  // As a supervisor does: who has ended is started again.
  await Promise.all(
    brokers.map(async (broker) => {
      assert.equal(await broker.ended(60_000), 0);
      const from = performance.now();
      await broker.start();
      away.push({ from, to: performance.now() });
    }),
  );
  const verdicts = await requests.stop();
  away.sort((a, b) => a.from - b.from);
  for (const [i, { from }] of away.entries()) {
    const before = away[i - 1];
    // Three seconds after it has registered, which is a little before it says so.
    if (before !== undefined)
      assert.ok(from - before.to > 2_000, `broker ${i + 1} ended ${from - before.to} ms after the one before was up`);
  }
  assert.deepEqual(Object.keys(verdicts), ['ok']);
  assert.ok((verdicts.ok ?? 0) > 1_000, JSON.stringify(verdicts));
});

test('the last broker of a region stays until another one is up', async (t) => {
  const world = await World.create(t);
  const brokers = await Promise.all([1, 2].map((i) => BrokerProcess.start(t, world, `broker${i}`)));
  await world.sql.query(`update triggerfs.brokers set started_at = now() - interval '1 hour'`);
  const { rows } = await world.sql.query<{ id: number }>(`select triggerfs.announce_maintenance('test', 1, null) as id`);
  const first = await Promise.race(
    brokers.map(async (broker) => {
      await broker.ended();
      return broker;
    }),
  );
  const last = brokers.find((broker) => broker !== first);
  assert.ok(last !== undefined);
  const turn = async (): Promise<unknown> =>
    (await world.sql.query('select triggerfs.take_maintenance_turn($1, $2) as taken', [rows[0]?.id, last.address?.id])).rows[0]?.taken;
  // However long the first one stays away.
  await world.sql.query(`update triggerfs.maintenance_turns set taken_at = now() - interval '1 hour'`);
  assert.equal(await turn(), false);
  await first.start();
  assert.equal(await turn(), false, 'not yet: it has just come');
  assert.equal(await last.ended(), 0);
});
