import type { TestContext } from 'node:test';
import type { Broker } from '../../edge-broker/broker.ts';
import type { InvocationAnswer } from '../../protocol/http/invocation.ts';
import type { Problem } from '../../protocol/http/problem.ts';
import { FakeWorker, type FakeWorkerOptions } from '../support/fake-worker.ts';
import { type Person, type ServiceSettings, World } from '../support/world.ts';

/** A broker with a gateway, a team `alpha`, its service `svc` with workers, and short ways to ask over HTTP. */
export class GatewayStage {
  readonly world: World;
  readonly owner: Person;
  readonly broker: Broker;
  readonly people: readonly Person[];
  readonly workers: readonly FakeWorker[];
  readonly token: string;

  private constructor(world: World, owner: Person, broker: Broker, people: readonly Person[], workers: readonly FakeWorker[]) {
    this.world = world;
    this.owner = owner;
    this.broker = broker;
    this.people = people;
    this.workers = workers;
    this.token = world.token(owner);
  }

  static async create(
    t: TestContext,
    options: FakeWorkerOptions & { count?: number; service?: ServiceSettings; settings?: string } = {},
  ): Promise<GatewayStage> {
    const world = await World.create(t);
    const owner = await world.addTeam('alpha');
    const people: Person[] = [];
    for (let i = 1; i <= (options.count ?? 1); i += 1) people.push(await world.addWorker(owner, `worker${i}`));
    await world.addService(owner, 'svc', { ...options.service, workers: people });
    const broker = await world.broker('broker', { settings: options.settings ?? '' });
    const workers: FakeWorker[] = [];
    for (const person of people) workers.push(await FakeWorker.connect(t, world, person, [broker], options));
    return new GatewayStage(world, owner, broker, people, workers);
  }

  get worker(): FakeWorker {
    return this.workers[0] as FakeWorker;
  }

  /** Address of a service's invocations. */
  url(service = 'alpha/svc', query: Record<string, string> = {}): string {
    return `${this.broker.gatewayUrl}/v1/invoke/${service}?${new URLSearchParams(query)}`;
  }

  /** A request as the owner makes it; what a test gives replaces parts of it. */
  post(
    options: { url?: string; headers?: Record<string, string>; body?: string | Buffer<ArrayBuffer>; signal?: AbortSignal } = {},
  ): Promise<Response> {
    return fetch(options.url ?? this.url(), {
      method: 'POST',
      headers: { authorization: `Bearer ${this.token}`, 'content-type': 'application/json', ...options.headers },
      body: options.body ?? JSON.stringify({ plugin: 'echo', payload: 'hello' }),
      ...(options.signal === undefined ? {} : { signal: options.signal }),
    });
  }

  /** The JSON answer to a JSON request. */
  async ask(
    body: Record<string, unknown> = {},
    service?: string,
  ): Promise<{ status: number; headers: Headers; answer: InvocationAnswer & Partial<Problem> }> {
    const response = await this.post({ url: this.url(service), body: JSON.stringify({ plugin: 'echo', payload: 'hello', ...body }) });
    return { status: response.status, headers: response.headers, answer: (await response.json()) as InvocationAnswer & Partial<Problem> };
  }
}
