import assert from 'node:assert/strict';
import { randomBytes, randomUUID } from 'node:crypto';
import { connect } from 'node:net';
import { type TestContext, test } from 'node:test';
import { curveKeyPair, Dealer } from 'zeromq';
import type { Broker } from '../../edge-broker/broker.ts';
import { BatchWriter, readBatch, readJson } from '../../protocol/batch.ts';
import { LIMITS } from '../../protocol/limits.ts';
import { RecordType } from '../../protocol/records.ts';
import { FakeWorker } from '../support/fake-worker.ts';
import { until } from '../support/wait.ts';
import { type Person, World } from '../support/world.ts';

interface Answer {
  readonly type: number;
  readonly body: Record<string, unknown>;
}

/** A raw peer of the broker's port: sends what it is told and keeps what comes back. */
class RawPeer {
  readonly answers: Answer[] = [];
  readonly #socket: Dealer;

  constructor(t: TestContext, broker: Broker, keys = curveKeyPair()) {
    this.#socket = new Dealer({
      linger: 0,
      reconnectInterval: -1,
      curveServerKey: broker.publicKey,
      curvePublicKey: keys.publicKey,
      curveSecretKey: keys.secretKey,
    });
    t.after(() => this.#socket.close());
    this.#socket.connect(broker.endpoint);
    void this.#receive();
  }

  async send(build: (writer: BatchWriter) => void): Promise<void> {
    const writer = new BatchWriter();
    build(writer);
    await this.#socket.send(writer.take());
  }

  async raw(...frames: Buffer[]): Promise<void> {
    await this.#socket.send(frames);
  }

  answer(type: number): Promise<Answer> {
    return until(() => this.answers.find((answer) => answer.type === type), { what: `an answer of type ${type}` });
  }

  async #receive(): Promise<void> {
    for await (const [batch] of this.#socket) {
      readBatch(batch as Buffer, (type, _flags, source, start, end) => {
        const json = type < 0x20 && end > start && source[start] === 0x7b;
        this.answers.push({ type, body: json ? readJson(source, start, end) : {} });
      });
    }
  }
}

async function stage(t: TestContext): Promise<{ world: World; owner: Person; worker: Person; broker: Broker }> {
  const world = await World.create(t);
  const owner = await world.addTeam('alpha');
  const worker = await world.addWorker(owner, 'worker1');
  await world.addService(owner, 'svc', { workers: [worker] });
  return { world, owner, worker, broker: await world.broker() };
}

/** The oracle after each attack: a good client is served. */
async function served(world: World, owner: Person, broker: Broker): Promise<void> {
  const client = await world.client(owner, [broker]);
  const outcome = await client.invoke({ service: 'svc', plugin: 'echo', payload: 'x' }).outcome;
  assert.equal(outcome.verdict, 'ok');
  await client.stop();
}

test('a stranger without a channel key gets no connection', async (t) => {
  const { world, owner, broker, worker } = await stage(t);
  await FakeWorker.connect(t, world, worker, [broker]);
  const stranger = new RawPeer(t, broker);
  await stranger.send((writer) => writer.json(RecordType.hello, { token: world.token(owner), agent: 'x' }));
  await served(world, owner, broker);
  assert.deepEqual(stranger.answers, []);
});

test('tokens that are not good are refused, each with its reason', async (t) => {
  const { world, owner, worker, broker } = await stage(t);
  const other = await World.create(t);
  const foreign = await other.addTeam('alpha');
  const cases: [string, string, RegExp][] = [
    ['garbage', 'TFS_UNAUTHENTICATED', /malformed/],
    [world.token(owner, { lifeSeconds: -5 }), 'TFS_UNAUTHENTICATED', /expired/],
    [world.token(owner, { audience: 'triggerfs-api' }), 'TFS_UNAUTHENTICATED', /not valid/],
    [other.token(foreign), 'TFS_UNAUTHENTICATED', /unknown key/],
    [world.token({ ...owner, id: 9999 }), 'TFS_UNAUTHENTICATED', /not known/],
    [world.token({ ...worker, teamId: 9999 }), 'TFS_UNAUTHENTICATED', /not known/],
    [world.token(owner, { epoch: 0 }), 'TFS_UNAUTHENTICATED', /claims/],
  ];
  for (const [token, code, message] of cases) {
    const peer = new RawPeer(t, broker, world.channelKey);
    await peer.send((writer) => writer.json(RecordType.hello, { token, agent: 'x' }));
    const { body } = await peer.answer(RecordType.refused);
    assert.equal(body.code, code);
    assert.match(String(body.message), message);
  }
});

test('before WELCOME nothing but HELLO and PING exists, within 16 KiB', async (t) => {
  const { world, owner, broker } = await stage(t);
  const peer = new RawPeer(t, broker, world.channelKey);
  await peer.send((writer) => writer.write(RecordType.ping, 0, Buffer.alloc(8)));
  await peer.answer(RecordType.pong);
  await peer.send((writer) => writer.json(RecordType.route, { route: 1, service: 'svc', plugin: 'echo' }));
  assert.equal((await peer.answer(RecordType.refused)).body.code, 'TFS_UNAUTHENTICATED');
  const loud = new RawPeer(t, broker, world.channelKey);
  await loud.send((writer) => writer.json(RecordType.hello, { token: 'x'.repeat(LIMITS.helloBytes), agent: 'x' }));
  await loud.send((writer) => writer.json(RecordType.hello, { token: world.token(owner), agent: 'x' }));
  await until(() => broker.sessions.counters.denied >= 2, { what: 'the loud peer is counted' });
  assert.deepEqual(loud.answers, []);
});

test('a peer without a session is told so once, however much it says', async (t) => {
  const { world, owner, broker } = await stage(t);
  const peer = new RawPeer(t, broker, world.channelKey);
  const cancels = (writer: BatchWriter): void => {
    for (let call = 1; call <= 5; call += 1) writer.write(RecordType.cancel, 0, Buffer.alloc(4, call));
  };
  await peer.send(cancels);
  await peer.answer(RecordType.refused);
  const { denied } = broker.sessions.counters;
  await peer.send(cancels);
  await until(() => broker.sessions.counters.denied > denied, { what: 'the second batch is counted' });
  await until(() => broker.sessions.size === 0, { what: 'the peer is forgotten' });
  await peer.send((writer) => writer.json(RecordType.hello, { token: world.token(owner), agent: 'x' }));
  await peer.answer(RecordType.welcome);
  assert.equal(peer.answers.filter(({ type }) => type === RecordType.refused).length, 1);
});

test('revocation takes effect within seconds: logout, raised epoch, removed member, deleted worker', async (t) => {
  const { world, owner, broker, worker } = await stage(t);
  const leaver = await world.addUser(owner.teamId, 'alpha', 'leaver', 'member');
  const session = randomUUID();
  const tokens = [world.token(owner, { session }), world.token(leaver), world.token(worker)];
  const peers = [];
  for (const token of tokens) {
    const peer = new RawPeer(t, broker, world.channelKey);
    await until(() => broker.directory.team(owner.teamId)?.members.has(leaver.id), { what: 'the member is known' });
    await peer.send((writer) => writer.json(RecordType.hello, { token, agent: 'x' }));
    await peer.answer(RecordType.welcome);
    peers.push(peer);
  }
  await world.sql.query("insert into triggerfs.revoked_sessions (session_id, expires_at) values ($1, now() + interval '1 hour')", [
    session,
  ]);
  await world.sql.query('delete from triggerfs.memberships where user_id = $1', [leaver.id]);
  await world.sql.query('delete from triggerfs.workers where id = $1', [worker.id]);
  for (const peer of peers) {
    const refused = await until(() => peer.answers.find((answer) => answer.type === RecordType.refused), {
      timeoutMs: 5_000,
      what: 'the session ends',
    });
    assert.equal(refused.body.code, 'TFS_REVOKED');
  }
  await world.sql.query('update triggerfs.users set token_epoch = 2 where id = $1', [owner.id]);
  await until(() => broker.directory.team(owner.teamId)?.members.get(owner.id)?.epoch === 2, { what: 'the epoch is known' });
  const late = new RawPeer(t, broker, world.channelKey);
  await late.send((writer) => writer.json(RecordType.hello, { token: world.token(owner), agent: 'x' }));
  assert.equal((await late.answer(RecordType.refused)).body.code, 'TFS_REVOKED');
});

test('of two workers with one identity the newest wins, and the older is told', async (t) => {
  const { world, owner, broker, worker } = await stage(t);
  const older = await FakeWorker.connect(t, world, worker, [broker]);
  const newer = await FakeWorker.connect(t, world, worker, [broker]);
  await until(() => older.refused === 'TFS_CONFLICT', { what: 'the older is told' });
  older.kill();
  await served(world, owner, broker);
  assert.equal(newer.tasks.length, 1);
});

test('a worker cannot answer for runs of another', async (t) => {
  const { world, owner, broker, worker } = await stage(t);
  const thief = await world.addWorker(owner, 'thief');
  await until(() => broker.directory.team(owner.teamId)?.workers.has(thief.id), { what: 'the thief is known' });
  const honest = await FakeWorker.connect(t, world, worker, [broker], { onTask: (task) => task.started() });
  const crook = await FakeWorker.connect(t, world, thief, [broker]);
  const client = await world.client(owner, [broker]);
  const invocation = client.invoke({ service: 'svc', plugin: 'echo', payload: 'x' });
  const task = await until(() => honest.tasks[0], { what: 'the task' });
  const forged = Buffer.alloc(20);
  forged.writeUInt32LE(task.run, 0);
  crook.send(RecordType.result, forged);
  task.output('honest');
  task.result();
  let text = '';
  for await (const chunk of invocation) text += chunk.data.toString();
  assert.equal(text, 'honest');
  assert.equal(invocation.verdicts.length, 1);
});

test('a renewed token keeps the session, an expired one ends it, and another identity is refused', async (t) => {
  const { world, owner, broker } = await stage(t);
  const other = await world.addUser(owner.teamId, 'alpha', 'other', 'member');
  const kept = new RawPeer(t, broker, world.channelKey);
  const lapsed = new RawPeer(t, broker, world.channelKey);
  for (const peer of [kept, lapsed]) {
    await peer.send((writer) => writer.json(RecordType.hello, { token: world.token(owner, { lifeSeconds: 2 }), agent: 'x' }));
    await peer.answer(RecordType.welcome);
  }
  await kept.send((writer) => writer.json(RecordType.renew, { token: world.token(owner) }));
  await lapsed.send((writer) => writer.json(RecordType.renew, { token: world.token(other) }));
  assert.equal((await lapsed.answer(RecordType.refused)).body.hello, true);
  assert.equal(
    kept.answers.some((answer) => answer.type === RecordType.refused),
    false,
  );
});

test('garbage on the port: nothing crashes, a good client is still served', async (t) => {
  const { world, owner, broker, worker } = await stage(t);
  await FakeWorker.connect(t, world, worker, [broker]);
  const token = world.token(owner);
  const seeds = [
    (w: BatchWriter) => w.json(RecordType.route, { route: 1, service: 'svc', plugin: 'echo' }),
    (w: BatchWriter) => w.write(RecordType.request, 0, Buffer.alloc(40)),
    (w: BatchWriter) => w.write(RecordType.credit, 0, Buffer.alloc(12)),
    (w: BatchWriter) => w.write(RecordType.cancel, 0, Buffer.alloc(4)),
    (w: BatchWriter) => w.json(RecordType.renew, { token }),
  ];
  for (let round = 0; round < 60; round += 1) {
    const peer = new RawPeer(t, broker, world.channelKey);
    if (round % 2 === 0) await peer.send((writer) => writer.json(RecordType.hello, { token, agent: 'x' }));
    const writer = new BatchWriter();
    for (const seed of seeds) seed(writer);
    const batch = writer.take();
    for (let i = 0; i < 1 + (round % 5); i += 1) batch[Math.floor(Math.random() * batch.length)] = Math.floor(Math.random() * 256);
    await peer.raw(batch.subarray(0, Math.floor(Math.random() * (batch.length + 1))));
    await peer.raw(randomBytes(1 + Math.floor(Math.random() * 200)));
    await peer.raw(Buffer.alloc(0));
    await peer.raw(Buffer.from('a'), Buffer.from('b'), Buffer.from('c'));
  }
  const { port } = new URL(broker.endpoint.replace('tcp:', 'http:'));
  for (const text of [
    'GET / HTTP/1.1\r\n\r\n',
    '\x16\x03\x01\x02\x00\x01\x00',
    randomBytes(64).toString('latin1'),
    '\xff\x00\x00\x00\x00\x00\x00\x00\x01\x7f',
  ]) {
    const socket = connect(Number(port), '127.0.0.1');
    socket.on('error', () => undefined);
    socket.resume();
    socket.end(Buffer.from(text, 'latin1'));
    await new Promise((resolve) => socket.once('close', resolve));
  }
  await served(world, owner, broker);
});

test('watching sessions hear of configuration changes', async (t) => {
  const { world, owner, broker } = await stage(t);
  const client = await world.client(owner, [broker], { watch: true });
  const versions: number[] = [];
  client.onChanged((version) => versions.push(version));
  await world.sql.query("update triggerfs.teams set description = 'new' where id = $1", [owner.teamId]);
  await until(() => versions.length > 0, { timeoutMs: 1_000, what: 'CHANGED arrives' });
});

test('a worker whose connection breaks is missed at once, not after its silence', async (t) => {
  const { world, broker, worker } = await stage(t);
  const lost = await FakeWorker.connect(t, world, worker, [broker]);
  const started = performance.now();
  lost.kill();
  await until(() => broker.dispatcher.workers.size === 0, { what: 'the worker is missed' });
  assert.ok(performance.now() - started < 1_000);
});

test('a peer that asks without reading answers loses its session, not the broker its memory', async (t) => {
  const { world, owner, broker, worker } = await stage(t);
  await FakeWorker.connect(t, world, worker, [broker]);
  const peer = new RawPeer(t, broker, world.channelKey);
  await peer.send((writer) => writer.json(RecordType.hello, { token: world.token(owner), agent: 'x' }));
  await peer.answer(RecordType.welcome);
  await peer.send((writer) => writer.write(RecordType.ping, 0, Buffer.alloc(LIMITS.helloBytes)));
  assert.equal((await peer.answer(RecordType.refused)).body.code, 'TFS_PROTOCOL');
  await served(world, owner, broker);
});
