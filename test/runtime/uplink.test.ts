import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { Context, curveKeyPair, Router } from 'zeromq';
import { BatchWriter, readBatch, readJson } from '../../protocol/batch.ts';
import type { Refused, Welcome } from '../../protocol/control.ts';
import { RecordType } from '../../protocol/records.ts';
import { silentLogger } from '../../runtime/logging.ts';
import { Uplink, type UplinkEvents } from '../../runtime/wire/uplink.ts';
import { lastFirst } from '../support/last-first.ts';
import { until } from '../support/wait.ts';

interface Received {
  readonly peer: string;
  readonly type: number;
  readonly json: Record<string, unknown>;
}

/** A bare ROUTER in the place of a broker: it shows what an uplink sends and answers what the test says. */
class RawBroker {
  readonly keys = curveKeyPair();
  readonly received: Received[] = [];
  readonly context = new Context({ blocky: false });
  router: Router;
  endpoint = '';
  #latest: Buffer = Buffer.alloc(0);

  constructor() {
    this.router = this.#open();
  }

  async start(): Promise<void> {
    await this.router.bind(this.endpoint === '' ? 'tcp://127.0.0.1:*' : this.endpoint);
    this.endpoint = this.router.lastEndpoint ?? '';
    void this.#receive(this.router);
  }

  async restart(): Promise<void> {
    this.router.close();
    this.router = this.#open();
    await until(
      () =>
        this.start().then(
          () => true,
          () => false,
        ),
      { what: 'the port is free again' },
    );
  }

  /** Sends records to the peer that was heard last. */
  async send(...records: [type: number, body?: unknown][]): Promise<void> {
    const writer = new BatchWriter();
    for (const [type, body] of records) {
      if (body === undefined) writer.write(type, 0);
      else writer.json(type, body);
    }
    await this.router.send([this.#latest, writer.take()]);
  }

  async sendBytes(bytes: Buffer): Promise<void> {
    await this.router.send([this.#latest, bytes]);
  }

  count(type: number): number {
    return this.received.filter((record) => record.type === type).length;
  }

  close(): void {
    this.router.close();
  }

  #open(): Router {
    return new Router({ context: this.context, linger: 0, curveServer: true, curveSecretKey: this.keys.secretKey });
  }

  async #receive(router: Router): Promise<void> {
    for await (const [peer, batch] of router) {
      if (peer === undefined || batch === undefined) continue;
      this.#latest = peer;
      readBatch(batch, (type, _flags, source, start, end) => {
        const json = type === RecordType.ping || type === RecordType.pong || end === start ? {} : readJson(source, start, end);
        this.received.push({ peer: peer.toString('hex'), type, json });
      });
    }
  }
}

const WELCOME: Welcome = { session: 's', broker: 'b', role: 'client', team: 'demo', identity: 'demo', serverTime: 0, brokers: [] };

interface Stage {
  readonly broker: RawBroker;
  readonly uplink: Uplink;
  /** What happened, in order. */
  readonly events: string[];
}

async function stage(context: TestContext): Promise<Stage> {
  const t = lastFirst(context);
  const broker = new RawBroker();
  t.after(() => broker.close());
  await broker.start();
  const events: string[] = [];
  const listener: UplinkEvents = {
    ready: () => void events.push('ready'),
    record: (_uplink, type) => void events.push(`record ${type}`),
    lost: (_uplink, reason) => void events.push(`lost: ${reason}`),
    failed: (_uplink, reason) => void events.push(`failed: ${reason}`),
    refused: (_uplink, { code }: Refused) => void events.push(`refused ${code}`),
    drain: () => void events.push('drain'),
    brokers: (brokers) => void events.push(`brokers ${brokers.length}`),
  };
  const uplink = new Uplink({
    broker: { id: 'b', endpoint: broker.endpoint, publicKey: broker.keys.publicKey, region: 'default' },
    credentials: async () => ({ hello: { token: 'the token', agent: 'test' }, channelKey: curveKeyPair() }),
    events: listener,
    log: silentLogger(),
  });
  t.after(() => uplink.stop());
  return { broker, uplink, events };
}

/** Waits for the n-th HELLO and answers it. */
async function welcome(broker: RawBroker, hellos = 1): Promise<void> {
  await until(() => broker.count(RecordType.hello) >= hellos, { what: `HELLO ${hellos}` });
  await broker.send([RecordType.welcome, WELCOME]);
}

test('HELLO comes first, and nothing may be sent before WELCOME', async (t) => {
  const { broker, uplink, events } = await stage(t);
  assert.throws(() => uplink.outbox, /no session/);
  uplink.start();
  await until(() => broker.received.length > 0, { what: 'HELLO' });
  assert.deepEqual(broker.received[0]?.json, { token: 'the token', agent: 'test' });
  assert.equal(uplink.ready, false);
  assert.throws(() => uplink.outbox, /no session/);
  await welcome(broker);
  await until(() => uplink.ready, { what: 'ready' });
  uplink.outbox.json(RecordType.route, { route: 1 });
  await until(() => broker.count(RecordType.route) === 1, { what: 'ROUTE' });
  assert.deepEqual(events, ['ready']);
});

test('records before WELCOME are not passed on, those after it are', async (t) => {
  const { broker, uplink, events } = await stage(t);
  uplink.start();
  await until(() => broker.received.length > 0, { what: 'HELLO' });
  await broker.send([RecordType.output, {}], [RecordType.welcome, WELCOME], [RecordType.changed, { version: 2 }], [RecordType.worker, {}]);
  await until(() => events.length === 3, { what: 'events' });
  assert.deepEqual(events, ['ready', `record ${RecordType.changed}`, `record ${RecordType.worker}`]);
});

test('pings are answered, and sent when the broker is silent', async (t) => {
  const { broker, uplink } = await stage(t);
  uplink.start();
  await welcome(broker);
  await until(() => uplink.ready, { what: 'ready' });
  const writer = new BatchWriter();
  writer.write(RecordType.ping, 0, Buffer.from('12345678'));
  await broker.sendBytes(writer.take());
  await until(() => broker.count(RecordType.pong) === 1, { what: 'PONG' });
  await until(() => broker.count(RecordType.ping) >= 1, { what: 'PING' });
});

test('who only listens pings all the same, or the broker would take it for dead', async (t) => {
  const { broker, uplink } = await stage(t);
  uplink.start();
  await welcome(broker);
  await until(() => uplink.ready, { what: 'ready' });
  const speaking = setInterval(() => void broker.send([RecordType.changed, { version: 1 }]), 50);
  t.after(() => clearInterval(speaking));
  await until(() => broker.count(RecordType.ping) >= 2, { what: 'two PINGs' });
});

test('a broker that stays silent is given up, and tried again', async (t) => {
  const { broker, uplink, events } = await stage(t);
  uplink.start();
  await welcome(broker);
  await until(() => uplink.ready, { what: 'ready' });
  const started = performance.now();
  await until(() => events.some((event) => event.startsWith('lost: no answer')), { what: 'the loss' });
  const ms = performance.now() - started;
  assert.ok(ms > 2_000 && ms < 6_000, `${ms} ms`);
  await welcome(broker, 2);
  await until(() => uplink.ready, { what: 'ready again' });
});

test('a broken connection is noticed at once, and nothing of the dead session is sent in the next one', async (t) => {
  const { broker, uplink, events } = await stage(t);
  uplink.start();
  await welcome(broker);
  await until(() => uplink.ready, { what: 'ready' });
  const dead = uplink.outbox;
  broker.received.length = 0;
  await broker.restart();
  await until(() => events.some((event) => event.startsWith('lost: ')), { timeoutMs: 2_000, what: 'the loss' });
  dead.json(RecordType.route, { route: 1 });
  await welcome(broker);
  await until(() => uplink.ready, { what: 'ready again' });
  uplink.outbox.json(RecordType.route, { route: 2 });
  await until(() => broker.count(RecordType.route) > 0, { what: 'ROUTE' });
  assert.deepEqual(
    broker.received.filter(({ type }) => type === RecordType.route).map(({ json }) => json.route),
    [2],
  );
});

test('a refusal is reported before the session is lost or failed', async (t) => {
  const { broker, uplink, events } = await stage(t);
  uplink.start();
  await until(() => broker.count(RecordType.hello) === 1, { what: 'HELLO' });
  await broker.send([RecordType.refused, { code: 'TFS_REVOKED', message: 'logged out', hello: false }]);
  await until(() => events.length >= 2, { what: 'the refusal' });
  assert.deepEqual(events.slice(0, 2), ['refused TFS_REVOKED', 'failed: logged out (TFS_REVOKED)']);
});

test('what stands behind a refusal in its batch does not count: one refusal is one, however often it is said', async (t) => {
  const { broker, uplink, events } = await stage(t);
  uplink.start();
  await welcome(broker);
  await until(() => uplink.ready, { what: 'ready' });
  const refused = { code: 'TFS_UNAUTHENTICATED', message: 'say HELLO first', hello: true };
  await broker.send([RecordType.refused, refused], [RecordType.refused, refused], [RecordType.drain], [RecordType.refused, refused]);
  await welcome(broker, 2);
  await until(() => uplink.ready, { what: 'ready again' });
  assert.deepEqual(events, ['ready', 'refused TFS_UNAUTHENTICATED', 'lost: say HELLO first (TFS_UNAUTHENTICATED)', 'ready']);
});

test('garbage from a broker ends the session, not the process', async (t) => {
  const { broker, uplink, events } = await stage(t);
  uplink.start();
  for (const [index, garbage] of ['', '02', '01ffffffff', '010600000002007b7b7b7b', '01020000000200'].entries()) {
    await welcome(broker, index + 1);
    await until(() => uplink.ready, { what: `ready ${index + 1}` });
    await broker.sendBytes(Buffer.from(garbage, 'hex'));
    await until(() => events.filter((event) => event.startsWith('lost: ')).length === index + 1, { what: `loss ${index + 1}` });
  }
});

test('drain and news of the fleet are passed on', async (t) => {
  const { broker, uplink, events } = await stage(t);
  uplink.start();
  await welcome(broker);
  await broker.send([RecordType.drain], [RecordType.brokers, { brokers: [{}, {}] }]);
  await until(() => events.length === 3, { what: 'events' });
  assert.deepEqual(events, ['ready', 'drain', 'brokers 2']);
  assert.equal(uplink.draining, true);
});

test('stopping says good-bye and no event follows', async (t) => {
  const { broker, uplink, events } = await stage(t);
  uplink.start();
  await welcome(broker);
  await until(() => uplink.ready, { what: 'ready' });
  uplink.outbox.json(RecordType.route, { route: 1 });
  await uplink.stop();
  await until(() => broker.count(RecordType.bye) === 1, { what: 'BYE' });
  assert.equal(broker.count(RecordType.route), 1, 'what was collected is sent');
  assert.deepEqual(events, ['ready']);
  await uplink.stop();
});

test('credentials that fail are tried again with back-off', async (t) => {
  let attempts = 0;
  const reasons: string[] = [];
  const uplink = new Uplink({
    broker: { id: 'b', endpoint: 'tcp://127.0.0.1:1', publicKey: curveKeyPair().publicKey, region: '' },
    credentials: () => {
      attempts += 1;
      return Promise.reject(new Error('no login'));
    },
    events: {
      ready: () => undefined,
      record: () => undefined,
      lost: () => undefined,
      failed: (_uplink, reason) => void reasons.push(reason),
      refused: () => undefined,
      drain: () => undefined,
      brokers: () => undefined,
    },
    log: silentLogger(),
  });
  t.after(() => uplink.stop());
  uplink.start();
  await until(() => attempts >= 3, { what: 'three attempts' });
  assert.equal(reasons[0], 'no login');
});
