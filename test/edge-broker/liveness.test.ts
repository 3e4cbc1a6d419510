import assert from 'node:assert/strict';
import { describe, type TestContext, test } from 'node:test';
import { Dealer } from 'zeromq';
import type { Broker } from '../../edge-broker/broker.ts';
import { BatchWriter, readBatch, readJson } from '../../protocol/batch.ts';
import { LIMITS } from '../../protocol/limits.ts';
import { RecordType } from '../../protocol/records.ts';
import { Verdict } from '../../protocol/verdicts.ts';
import { type FakeTask, FakeWorker } from '../support/fake-worker.ts';
import { until } from '../support/wait.ts';
import { type Person, World } from '../support/world.ts';

/** A client that says nothing by itself after HELLO. */
class Listener {
  pings = 0;
  pongs = 0;
  readonly refusals: Record<string, unknown>[] = [];
  readonly #socket: Dealer;

  constructor(t: TestContext, world: World, broker: Broker) {
    const { publicKey, secretKey } = world.channelKey;
    const keys = { curveServerKey: broker.publicKey, curvePublicKey: publicKey, curveSecretKey: secretKey };
    this.#socket = new Dealer({ linger: 0, reconnectInterval: -1, ...keys });
    t.after(() => this.#socket.close());
    this.#socket.connect(broker.endpoint);
    void this.#receive();
  }

  async hello(token: string): Promise<void> {
    const writer = new BatchWriter();
    writer.json(RecordType.hello, { token, agent: 'listener' });
    await this.#socket.send(writer.take());
  }

  async send(type: number): Promise<void> {
    const writer = new BatchWriter();
    writer.write(type, 0, Buffer.alloc(8));
    await this.#socket.send(writer.take());
  }

  async #receive(): Promise<void> {
    for await (const [batch] of this.#socket) {
      readBatch(batch as Buffer, (type, _flags, source, start, end) => {
        if (type === RecordType.ping) this.pings += 1;
        if (type === RecordType.pong) this.pongs += 1;
        if (type === RecordType.refused) this.refusals.push(readJson(source, start, end));
      });
    }
  }
}

interface Stage {
  readonly world: World;
  readonly owner: Person;
  readonly worker: Person;
  readonly broker: Broker;
}

async function stage(t: TestContext): Promise<Stage> {
  const world = await World.create(t);
  const owner = await world.addTeam('alpha');
  const worker = await world.addWorker(owner, 'worker1');
  await world.addService(owner, 'svc', { workers: [worker] });
  return { world, owner, worker, broker: await world.broker() };
}

describe('who is alive', { concurrency: true }, () => {
  test('a client that only reads a steady stream keeps its session, however long it takes', async (t) => {
    const { world, owner, worker, broker } = await stage(t);
    const lastMs = 2 * LIMITS.deadMs;
    const print = (task: FakeTask): void => {
      const began = performance.now();
      const timer = setInterval(() => {
        task.output('.');
        if (performance.now() - began < lastMs) return;
        clearInterval(timer);
        task.result();
      }, 50);
      t.after(() => clearInterval(timer));
    };
    await FakeWorker.connect(t, world, worker, [broker], { onTask: print });
    const client = await world.client(owner, [broker]);
    const invocation = client.invoke({ service: 'svc', plugin: 'echo', payload: '', timeoutMs: 30_000 });
    let bytes = 0;
    for await (const chunk of invocation) bytes += chunk.data.length;
    assert.equal((await invocation.outcome).verdict, 'ok');
    assert.ok(bytes > 10, `${bytes} bytes`);
    assert.equal(broker.sessions.counters.lost, 0);
  });

  test('a silent peer is asked, is kept while it answers, and is told when it was given up', async (t) => {
    const { world, owner, broker } = await stage(t);
    const peer = new Listener(t, world, broker);
    await peer.hello(world.token(owner));
    for (let asked = 1; asked <= 2; asked += 1) {
      await until(() => peer.pings === asked, { what: `PING ${asked}` });
      await peer.send(RecordType.pong);
    }
    assert.deepEqual([broker.sessions.countByRole().client, peer.refusals], [1, []]);
    await until(() => peer.refusals.length === 1, { what: 'REFUSED' });
    assert.deepEqual([peer.refusals[0]?.code, peer.refusals[0]?.hello], ['TFS_BROKER_LOST', true]);
    assert.equal(broker.sessions.size, 0);
    assert.equal(peer.pings, 3);
  });

  test('who pings without a session is answered, and told soon that it has none', async (t) => {
    const { world, broker } = await stage(t);
    const peer = new Listener(t, world, broker);
    await peer.send(RecordType.ping);
    await until(() => peer.pongs === 1, { what: 'PONG' });
    await until(() => peer.refusals.length === 1, { what: 'REFUSED' });
    assert.deepEqual([peer.refusals[0]?.code, peer.refusals[0]?.hello], ['TFS_UNAUTHENTICATED', true]);
  });

  test('a worker that was taken for dead is back soon, without having anything to say, and all of its places are free', async (t) => {
    const { world, owner, worker, broker } = await stage(t);
    const concurrency = 4;
    const peer = await FakeWorker.connect(t, world, worker, [broker], {
      concurrency,
      onTask: (task) => {
        if (task.payload.toString() === 'begin') task.output('.');
      },
    });
    const client = await world.client(owner, [broker]);
    const ask = (payload: string): Promise<{ verdict: string }> =>
      client.invoke({ service: 'svc', plugin: 'echo', payload, timeoutMs: 60_000 }).outcome;
    const answers = [ask('begin'), ask('begin'), ask('wait'), ask('wait'), ask('queued')];
    await until(() => peer.tasks.length === concurrency && broker.dispatcher.waitingRuns === 1, { what: 'four tasks and one that waits' });
    await until(() => broker.dispatcher.counters.outputBytes === 2, { what: 'output of the two that run' });
    const before = broker.dispatcher.workers.get(worker.id);
    if (before === undefined) throw new Error('the worker is not there');
    broker.sessions.close(before.session, 'taken for dead by a test');
    assert.deepEqual([broker.dispatcher.workers.size, broker.dispatcher.openRuns], [0, 0]);
    const verdicts = (await Promise.all(answers)).map(({ verdict }) => verdict);
    assert.deepEqual(verdicts, ['worker-lost', 'worker-lost', 'no-worker', 'no-worker', 'no-worker']);
    const back = await until(
      () => {
        const found = broker.dispatcher.workers.get(worker.id);
        return found?.accepting === true ? found : null;
      },
      { timeoutMs: 20_000, what: 'the worker is back' },
    );
    assert.equal(back.running, 0);
    peer.onTask = (task) => {
      // The ends of runs that the broker has given up come late, and concern nobody.
      for (const old of peer.tasks.splice(0)) if (old !== task) old.result(Verdict.failed, 1);
      task.result();
    };
    const later = await Promise.all(Array.from({ length: 3 * concurrency }, () => ask('again')));
    assert.ok(later.every(({ verdict }) => verdict === 'ok'));
    assert.deepEqual([back.running, broker.dispatcher.openRuns], [0, 0]);
  });
});
