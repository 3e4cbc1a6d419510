import type { TestContext } from 'node:test';
import { type ControlPlane, startControlPlane } from '../../control-plane/server.ts';
import type { Broker } from '../../edge-broker/broker.ts';
import type { QueueView } from '../../protocol/http/queue.ts';
import { parseConfig } from '../../runtime/config/index.ts';
import { silentLogger } from '../../runtime/logging.ts';
import { FakeWorker } from '../support/fake-worker.ts';
import { masterKeySection } from '../support/master-key.ts';
import { until } from '../support/wait.ts';
import { type Person, World } from '../support/world.ts';
import { type Answer, COST, Fixture } from './fixture.ts';

const ENDED = ['done', 'dead', 'cancelled', 'expired'];

/** A control-plane, a broker and a worker that tests play, on one database with the team `a`. */
export class QueueStage {
  readonly world: World;
  readonly api: Fixture;
  readonly broker: Broker;
  readonly owner: Person;
  /** API token of the team's member. */
  readonly token: string;
  readonly #t: TestContext;
  readonly #settings: string;

  private constructor(t: TestContext, world: World, api: Fixture, broker: Broker, owner: Person, token: string, settings: string) {
    this.#t = t;
    this.world = world;
    this.api = api;
    this.broker = broker;
    this.owner = owner;
    this.token = token;
    this.#settings = settings;
  }

  /** Starts all; it ends with the test. `settings`: lines of `[control-plane]`. `between`: what lies between it and the database. */
  static async start(t: TestContext, settings = '', between?: (url: string) => Promise<string>): Promise<QueueStage> {
    const world = await World.create(t);
    const { publicKey, secretKey } = world.channelKey;
    await world.sql.query('insert into triggerfs.channel_secrets (public_key, secret_key) values ($1, $2)', [publicKey, secretKey]);
    const controlPlane = await startPlane(t, world, settings, await between?.(world.url));
    const api = new Fixture(controlPlane, world.url);
    await api.team('a');
    const [row] = await api.sql<{ id: number; team: number }>(
      `select u.id, m.team_id as team from triggerfs.users u join triggerfs.memberships m on m.user_id = u.id where u.identity = 'member-a'`,
    );
    const { id, team } = row as { id: number; team: number };
    const owner: Person = { id, teamId: team, team: 'a', identity: 'member-a', role: 'member' };
    const broker = await world.broker();
    return new QueueStage(t, world, api, broker, owner, await api.tokenOf('member'), settings);
  }

  /** One more control-plane on the same database. */
  async another(): Promise<ControlPlane> {
    return startPlane(this.#t, this.world, this.#settings);
  }

  /** A service with one worker, which answers as a test says. */
  async service(name: string, onTask?: FakeWorker['onTask'], settings: Parameters<World['addService']>[2] = {}): Promise<FakeWorker> {
    const person = await this.world.addWorker(this.owner, `${name}01`);
    await this.world.addService(this.owner, name, { workers: [person], ...settings });
    const worker = await FakeWorker.connect(this.#t, this.world, person, [this.broker], { concurrency: 64, plugins: ['p'] });
    if (onTask !== undefined) worker.onTask = onTask;
    return worker;
  }

  /** Asks for an invocation; returns the answer. */
  accept(body: Record<string, unknown>, key?: string): Promise<Answer> {
    const headers = key === undefined ? {} : { 'idempotency-key': key };
    return this.api.call('POST /v1/invocations', { token: this.token, body: { service: 's', plugin: 'p', ...body }, headers });
  }

  /** Asks for an invocation that must be accepted; returns its id. */
  async enqueue(body: Record<string, unknown> = {}): Promise<string> {
    const answer = await this.accept(body);
    if (answer.status !== 202) throw new Error(`not accepted: ${answer.status} ${answer.body.detail}`);
    return String(answer.body.id);
  }

  /** An item as the API shows it. */
  async item(id: string): Promise<QueueView> {
    return (await this.api.call(`GET /v1/invocations/${id}`, { token: this.token })).body as unknown as QueueView;
  }

  /** Waits until an item has ended, and returns it. */
  async ended(id: string, timeoutMs = 15_000): Promise<QueueView> {
    return until(
      async () => {
        const item = await this.item(id);
        return ENDED.includes(item.state) ? item : null;
      },
      { timeoutMs, what: `invocation ${id} ends` },
    );
  }
}

async function startPlane(t: TestContext, world: World, settings: string, databaseUrl = world.url): Promise<ControlPlane> {
  const controlPlane = await startControlPlane({
    config: parseConfig(`${masterKeySection()}[control-plane]\n${settings}\n`, null),
    databaseUrl,
    log: silentLogger(),
    port: 0,
    passwordCost: COST,
    requestsPerSecond: 1000,
  });
  t.after(() => controlPlane.stop());
  return controlPlane;
}
