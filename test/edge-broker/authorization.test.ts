import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { Dealer } from 'zeromq';
import { buildApp } from '../../edge-broker/gateway/app.ts';
import { OPENAPI } from '../../edge-broker/gateway/openapi.ts';
import { BatchWriter, readBatch } from '../../protocol/batch.ts';
import { ERRORS } from '../../protocol/errors.ts';
import { METHODS } from '../../protocol/http/gateway.ts';
import { RecordType, recordName } from '../../protocol/records.ts';
import { silentLogger } from '../../runtime/logging.ts';
import { until } from '../support/wait.ts';
import type { Person, World } from '../support/world.ts';
import { GatewayStage } from './gateway-stage.ts';

/**
 * Who may send which record to a broker. Written down here on its own: a record type that is new, or whose rights were
 * loosened, fails the test until somebody decides about it in both places.
 */
const RECORDS: Readonly<Record<string, readonly Role[]>> = {
  HELLO: ['new'],
  WELCOME: [],
  REFUSED: [],
  PING: ['new', 'client', 'worker'],
  PONG: ['client', 'worker'],
  RENEW: ['client', 'worker'],
  DRAIN: [],
  BROKERS: [],
  CHANGED: [],
  BYE: ['client', 'worker'],
  ROUTE: ['client'],
  UNROUTE: ['client'],
  REQUEST: ['client'],
  MANIFEST: [],
  WORKER: [],
  OUTPUT: ['worker'],
  RESULT: ['worker'],
  CREDIT: ['client'],
  CANCEL: ['client'],
  CONFIG: [],
  ANNOUNCE: ['worker'],
  PLAN: [],
  UNPLAN: [],
  TASK: [],
  STARTED: ['worker'],
  KEEP: ['worker'],
  SCHEDULE: [],
  SCHEDULES: [],
  FIRES: ['worker'],
  FIRED: [],
};

/** Every route of the gateway and who may call it. */
const ROUTES: Readonly<Record<string, 'public' | 'invoke' | 'signed' | 'kept'>> = {
  'GET /healthz': 'public',
  'HEAD /healthz': 'public',
  'GET /metrics': 'public',
  'HEAD /metrics': 'public',
  'GET /openapi.json': 'public',
  'HEAD /openapi.json': 'public',
  'POST /v1/invoke/:team/:service': 'invoke',
  'GET /v1/invoke/:team/:service': 'invoke',
  'HEAD /v1/invoke/:team/:service': 'invoke',
  'PUT /v1/invoke/:team/:service': 'invoke',
  'PATCH /v1/invoke/:team/:service': 'invoke',
  'DELETE /v1/invoke/:team/:service': 'invoke',
  'OPTIONS /v1/invoke/:team/:service': 'public',
  'POST /v1/hooks/:team/:hook': 'signed',
  'GET /v1/invocations/:id': 'kept',
  'HEAD /v1/invocations/:id': 'kept',
  'OPTIONS /v1/invocations/:id': 'public',
  'GET /v1/invocations/:id/output': 'kept',
  'HEAD /v1/invocations/:id/output': 'kept',
  'OPTIONS /v1/invocations/:id/output': 'public',
};

/** Status of an answer to who gets `invoke` for an invocation; ids and signatures are made up. */
const EXPECTED: Readonly<Record<(typeof ROUTES)[string], (method: string, who: string, invoke: number) => number>> = {
  public: (method) => (method === 'OPTIONS' ? 204 : 200),
  invoke: (_method, _who, invoke) => invoke,
  signed: () => ERRORS.TFS_BAD_SIGNATURE.status,
  kept: (_method, who, invoke) => (['viewer', 'reader', 'owner'].includes(who) ? ERRORS.TFS_NOT_FOUND.status : invoke),
};

const ROLES = ['new', 'client', 'worker'] as const;
type Role = (typeof ROLES)[number];

/** A connection of its own, with a session in one role or none yet. */
class Peer {
  readonly #socket: Dealer;
  readonly #types: number[] = [];

  private constructor(t: TestContext, world: World, stage: GatewayStage) {
    const { broker } = stage;
    const { publicKey: curvePublicKey, secretKey: curveSecretKey } = world.channelKey;
    this.#socket = new Dealer({ linger: 0, curveServerKey: broker.publicKey, curvePublicKey, curveSecretKey });
    t.after(() => this.#socket.close());
    this.#socket.connect(broker.endpoint);
    void this.#receive();
  }

  static async open(t: TestContext, stage: GatewayStage, role: Role, worker: Person): Promise<Peer> {
    const { world, owner } = stage;
    const peer = new Peer(t, world, stage);
    if (role === 'new') return peer;
    const token = world.token(role === 'client' ? owner : worker);
    await peer.send(RecordType.hello, Buffer.from(JSON.stringify({ token, agent: 'test' })));
    await peer.received(RecordType.welcome, 1);
    return peer;
  }

  async send(type: number, body: Buffer): Promise<void> {
    const writer = new BatchWriter();
    writer.write(type, 0, body);
    await this.#socket.send(writer.take());
  }

  /** Waits until the broker has handled everything sent so far. */
  async handled(): Promise<void> {
    const before = this.#types.filter((type) => type === RecordType.pong).length;
    await this.send(RecordType.ping, Buffer.alloc(8));
    await this.received(RecordType.pong, before + 1);
  }

  close(): void {
    this.#socket.close();
  }

  async received(type: number, count: number): Promise<void> {
    await until(() => this.#types.filter((each) => each === type).length >= count, { what: `${recordName(type)} from the broker` });
  }

  async #receive(): Promise<void> {
    for await (const [batch] of this.#socket) readBatch(batch as Buffer, (type) => this.#types.push(type));
  }
}

/** A body that has the right size for any fixed header, or is a JSON object. */
function bodyOf(type: number): Buffer {
  const json = type < RecordType.request || type === RecordType.announce || type === RecordType.config;
  return json && type !== RecordType.ping && type !== RecordType.pong ? Buffer.from('{}') : Buffer.alloc(40);
}

test('every record type is decided about', () => {
  assert.deepEqual(Object.values(RecordType).map(recordName).sort(), Object.keys(RECORDS).sort());
});

for (const role of ROLES) {
  test(`a session that is ${role} reaches only what it may: every record type, known or not`, async (t) => {
    const stage = await GatewayStage.create(t);
    const worker = await stage.world.addWorker(stage.owner, 'worker2');
    await until(() => stage.broker.directory.team(worker.teamId)?.workers.has(worker.id), { what: 'the worker is known' });
    const { counters } = stage.broker.sessions;
    for (const type of [...Object.values(RecordType), 0x00, 0x0b, 0x1f, 0x27, 0x7f, 0xff]) {
      const allowed = RECORDS[recordName(type)]?.includes(role) ?? false;
      const peer = await Peer.open(t, stage, role, worker);
      const before = counters.denied;
      await peer.send(type, bodyOf(type));
      // Whoever was denied before HELLO is not listened to any more, so there the counter alone tells.
      if (role === 'new' && !allowed) await until(() => counters.denied > before, { what: `${recordName(type)} is denied` });
      else await peer.handled();
      assert.equal(counters.denied - before, allowed ? 0 : 1, `${recordName(type)} by a session that is ${role}`);
      peer.close();
    }
    assert.equal(stage.worker.tasks.length, 0);
    assert.equal(stage.broker.dispatcher.openRuns, 0);
    assert.equal((await stage.ask()).answer.verdict, 'ok');
  });
}

test('every route of the gateway is decided about, and described', () => {
  const app = buildApp({ log: silentLogger(), metrics: {} } as unknown as Parameters<typeof buildApp>[0]);
  const routes: string[] = [];
  const path: string[] = [];
  for (const line of app.printRoutes({ commonPrefix: false }).split('\n')) {
    const [, indent = '', part = '', methods = ''] = /^([│ ]*)[├└]── (\S+)(?: \((.*)\))?/.exec(line) ?? [];
    if (part === '') continue;
    path.splice(indent.length / 4, Number.POSITIVE_INFINITY, part);
    for (const method of methods.split(', ').filter((each) => each !== '')) routes.push(`${method} ${path.join('')}`);
  }
  assert.deepEqual(routes.sort(), Object.keys(ROUTES).sort());
  const described = Object.entries(OPENAPI.paths as Record<string, Record<string, unknown>>).flatMap(([address, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${address.replace(/\{(\w+)\}/g, ':$1')}`),
  );
  const expected = Object.keys(ROUTES).filter((route) => !/^(HEAD|OPTIONS)/.test(route));
  assert.deepEqual(described.sort(), expected.sort());
});

test('a route without a policy is refused', () => {
  const app = buildApp({ log: silentLogger(), metrics: null } as unknown as Parameters<typeof buildApp>[0]);
  assert.throws(() => app.get('/new', async () => 'open'), /declares no policy/);
});

test('no route of the gateway is reachable without its right', async (t) => {
  const stage = await GatewayStage.create(t, { service: { http: { methods: [...METHODS] } } });
  const { world, owner, people, broker } = stage;
  const viewer = await world.addUser(owner.teamId, 'alpha', 'looker', 'viewer');
  await until(() => broker.directory.team(owner.teamId)?.members.has(viewer.id), { what: 'the viewer is known' });
  const callers: Readonly<Record<string, { token: string | null; invoke: number }>> = {
    nobody: { token: null, invoke: ERRORS.TFS_UNAUTHENTICATED.status },
    garbage: { token: 'x.y.z', invoke: ERRORS.TFS_UNAUTHENTICATED.status },
    api: { token: world.token(owner, { audience: 'triggerfs-api' }), invoke: ERRORS.TFS_UNAUTHENTICATED.status },
    worker: { token: world.token(people[0] ?? owner), invoke: ERRORS.TFS_FORBIDDEN.status },
    viewer: { token: world.token(viewer), invoke: ERRORS.TFS_FORBIDDEN.status },
    reader: { token: world.token(owner, { scopes: ['read', 'write'] }), invoke: ERRORS.TFS_FORBIDDEN.status },
    owner: { token: stage.token, invoke: 200 },
  };
  for (const [route, policy] of Object.entries(ROUTES)) {
    const [method = '', address = ''] = route.split(' ');
    const url = `${broker.gatewayUrl}${address.replace(':team', 'alpha').replace(':service', 'svc')}`;
    for (const [who, { token, invoke }] of Object.entries(callers)) {
      const headers: Record<string, string> = token === null ? {} : { authorization: `Bearer ${token}` };
      const response = await fetch(policy === 'invoke' ? `${url}?plugin=echo` : url, { method, headers });
      await response.arrayBuffer();
      assert.equal(response.status, EXPECTED[policy](method, who, invoke), `${route} by ${who}`);
    }
  }
  assert.equal(stage.worker.tasks.length, 6);
});
