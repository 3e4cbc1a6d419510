import type { TestContext } from 'node:test';
import type { Broker } from '../../edge-broker/broker.ts';
import { readJson } from '../../protocol/batch.ts';
import type { BrokerAddress, Plan } from '../../protocol/control.ts';
import { Layout, RecordFlag, RecordType } from '../../protocol/records.ts';
import { Verdict, type VerdictNumber } from '../../protocol/verdicts.ts';
import { silentLogger } from '../../runtime/logging.ts';
import { formatInvocationId } from '../../runtime/wire/invocation-id.ts';
import { Uplink } from '../../runtime/wire/uplink.ts';
import { until } from './wait.ts';
import { addressOf, type Person, type World } from './world.ts';

/** A task as the fake worker got it, with the means to answer it. */
export class FakeTask {
  readonly run: number;
  readonly plan: Plan;
  readonly invocation: string;
  readonly timeoutMs: number;
  readonly attempt: number;
  readonly payload: Buffer;
  credit: number;
  cancelled = false;
  timedOut = false;
  #sequence = 0;
  readonly #uplink: Uplink;

  constructor(uplink: Uplink, plan: Plan, batch: Buffer, start: number, end: number) {
    this.#uplink = uplink;
    this.plan = plan;
    this.run = batch.readUInt32LE(start + Layout.task.run);
    this.invocation = formatInvocationId(batch, start + Layout.task.invocation);
    this.timeoutMs = batch.readUInt32LE(start + Layout.task.timeoutMs);
    this.credit = batch.readUInt32LE(start + Layout.task.credit);
    this.attempt = batch.readUInt32LE(start + Layout.task.attempt);
    this.payload = Buffer.from(batch.subarray(start + Layout.task.payload, end));
  }

  /** Sends STARTED. */
  started(): void {
    const at = this.#uplink.outbox.reserve(RecordType.started, 0, Layout.started.end);
    this.#uplink.outbox.buffer.writeUInt32LE(this.run, at);
  }

  /** Sends one OUTPUT. */
  output(data: string | Buffer, stderr = false): void {
    const bytes = Buffer.from(data);
    const { outbox } = this.#uplink;
    const at = outbox.reserve(RecordType.output, stderr ? RecordFlag.stderr : 0, Layout.output.data + bytes.length);
    outbox.buffer.writeUInt32LE(this.run, at + Layout.output.call);
    outbox.buffer.writeUInt32LE(0, at + Layout.output.worker);
    outbox.buffer.writeUInt32LE(this.#sequence, at + Layout.output.sequence);
    bytes.copy(outbox.buffer, at + Layout.output.data);
    this.#sequence += 1;
    this.credit -= bytes.length;
  }

  /** Sends RESULT. */
  result(verdict: VerdictNumber = Verdict.ok, exitCode = 0, error = 0, detail = ''): void {
    const text = Buffer.from(detail);
    const { outbox } = this.#uplink;
    const at = outbox.reserve(RecordType.result, 0, Layout.result.detail + text.length);
    outbox.buffer.fill(0, at, at + Layout.result.detail);
    outbox.buffer.writeUInt32LE(this.run, at + Layout.result.call);
    outbox.buffer.writeInt16LE(exitCode, at + Layout.result.exitCode);
    outbox.buffer[at + Layout.result.verdict] = verdict;
    outbox.buffer.writeUInt16LE(error, at + Layout.result.error);
    text.copy(outbox.buffer, at + Layout.result.detail);
  }
}

/** Options of a fake worker. */
export interface FakeWorkerOptions {
  readonly concurrency?: number;
  readonly plugins?: readonly string[];
  /** Called for each task; the default echoes the payload. */
  readonly onTask?: (task: FakeTask, worker: FakeWorker) => void;
}

/** A peer that speaks the worker's side of the protocol over real sockets, and does what a test tells it. */
export class FakeWorker {
  readonly tasks: FakeTask[] = [];
  readonly configs: string[][] = [];
  refused: string | null = null;
  /** Numbers of plans that the broker took back. */
  readonly forgotten: number[] = [];
  onTask: (task: FakeTask, worker: FakeWorker) => void;
  readonly #world: World;
  readonly #person: Person;
  readonly #uplinks = new Map<string, Uplink>();
  readonly #plans = new Map<Uplink, Map<number, Plan>>();
  #concurrency: number;
  readonly #plugins: readonly string[];

  private constructor(world: World, person: Person, options: FakeWorkerOptions) {
    this.#world = world;
    this.#person = person;
    this.#concurrency = options.concurrency ?? 64;
    this.#plugins = options.plugins ?? ['echo', 'command/command'];
    this.onTask = options.onTask ?? echo;
  }

  /** Connects to brokers and resolves when all of them know the worker. */
  static async connect(
    t: TestContext,
    world: World,
    person: Person,
    brokers: readonly Broker[],
    options: FakeWorkerOptions = {},
  ): Promise<FakeWorker> {
    const worker = new FakeWorker(world, person, options);
    t.after(() => worker.stop());
    for (const broker of brokers) worker.join(addressOf(broker));
    for (const broker of brokers) {
      await until(() => broker.dispatcher.workers.get(person.id)?.concurrency === worker.#concurrency, {
        what: `${person.identity} is known to its broker`,
      });
    }
    return worker;
  }

  /** Connects to brokers in other processes and resolves when each has sent CONFIG. */
  static async connectTo(
    t: TestContext,
    world: World,
    person: Person,
    brokers: readonly BrokerAddress[],
    options: FakeWorkerOptions = {},
  ): Promise<FakeWorker> {
    const worker = new FakeWorker(world, person, options);
    t.after(() => worker.stop());
    for (const broker of brokers) worker.join(broker);
    await until(() => worker.configs.length >= brokers.length, { what: `${person.identity} is configured by all brokers` });
    return worker;
  }

  /** Connects to one more broker. */
  join(broker: BrokerAddress): void {
    const credentials = this.#world.credentials(this.#person, [broker]);
    const uplink = new Uplink({
      broker,
      log: silentLogger(),
      credentials: async () => {
        const { edgeToken, channelKey } = await credentials.current();
        return { hello: { token: edgeToken, agent: 'fake' }, channelKey };
      },
      events: {
        ready: (link) => {
          this.#plans.set(link, new Map());
          this.#announce(link);
        },
        record: (link, type, flags, batch, start, end) => this.#record(link, type, flags, batch, start, end),
        lost: () => undefined,
        refused: (_link, refused) => {
          this.refused = refused.code;
        },
        drain: () => undefined,
        brokers: () => undefined,
      },
    });
    this.#uplinks.set(broker.id, uplink);
    uplink.start();
  }

  /** Announces another capacity. */
  announce(concurrency: number): void {
    this.#concurrency = concurrency;
    for (const uplink of this.#uplinks.values()) if (uplink.ready) this.#announce(uplink);
  }

  /** Sends a ready-made record on the first uplink. */
  send(type: number, body: Buffer): void {
    const [uplink] = this.#uplinks.values();
    uplink?.outbox.copy(type, 0, body, 0, body.length);
  }

  /** Disconnects like a process that was killed: without a good-bye. */
  kill(): void {
    for (const uplink of this.#uplinks.values()) {
      uplink.reset('killed');
      void uplink.stop();
    }
    this.#uplinks.clear();
  }

  /** Disconnects in order. */
  async stop(): Promise<void> {
    await Promise.all([...this.#uplinks.values()].map((uplink) => uplink.stop()));
  }

  #announce(uplink: Uplink): void {
    uplink.outbox.json(RecordType.announce, {
      concurrency: this.#concurrency,
      services: [],
      plugins: this.#plugins.map((name) => ({ name, version: '1.0.0', kind: 'exec' })),
      version: 'fake',
    });
  }

  #record(uplink: Uplink, type: number, flags: number, batch: Buffer, start: number, end: number): void {
    const plans = this.#plans.get(uplink) as Map<number, Plan>;
    if (type === RecordType.config) {
      this.configs.push(readJson(batch, start, end).services as string[]);
    } else if (type === RecordType.plan) {
      const plan = readJson(batch, start, end) as unknown as Plan;
      plans.set(plan.plan, plan);
    } else if (type === RecordType.unplan) {
      this.forgotten.push(readJson(batch, start, end).plan as number);
    } else if (type === RecordType.task) {
      const plan = plans.get(batch.readUInt32LE(start + Layout.task.plan));
      if (plan === undefined) throw new Error('TASK without PLAN');
      const task = new FakeTask(uplink, plan, batch, start, end);
      this.tasks.push(task);
      this.onTask(task, this);
    } else if (type === RecordType.cancel || type === RecordType.credit) {
      const task = this.tasks.find((candidate) => candidate.run === batch.readUInt32LE(start));
      if (task === undefined) return;
      if (type === RecordType.credit) task.credit += batch.readUInt32LE(start + Layout.credit.bytes);
      else {
        task.cancelled = true;
        task.timedOut = (flags & RecordFlag.timeout) !== 0;
      }
    }
  }
}

function echo(task: FakeTask): void {
  task.started();
  task.output(task.payload);
  task.result();
}
