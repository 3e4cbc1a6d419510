import type { TestContext } from 'node:test';
import type { Broker } from '../../edge-broker/broker.ts';
import { readJson } from '../../protocol/batch.ts';
import { Layout, RecordType } from '../../protocol/records.ts';
import type { Fired, FireReport, HeldSchedule, ResidentSchedule, ResidentSchedules } from '../../protocol/resident.ts';
import { silentLogger } from '../../runtime/logging.ts';
import { Uplink } from '../../runtime/wire/uplink.ts';
import { until } from '../support/wait.ts';
import { addressOf, type Person, type World } from '../support/world.ts';

/** A worker's session that keeps schedules as a test tells it. */
export class ResidentPeer {
  /** Schedules that CONFIG counted, the newest last. */
  readonly counts: number[] = [];
  readonly definitions: ResidentSchedule[] = [];
  readonly lists: ResidentSchedules[] = [];
  readonly answers: Fired[] = [];
  refused: string | null = null;
  readonly #uplink: Uplink;
  #keeps = 0;
  #uploads = 0;

  private constructor(world: World, worker: Person, broker: Broker) {
    const credentials = world.credentials(worker, [addressOf(broker)]);
    this.#uplink = new Uplink({
      broker: addressOf(broker),
      log: silentLogger(),
      credentials: async () => {
        const { edgeToken, channelKey } = await credentials.current();
        return { hello: { token: edgeToken, agent: 'resident' }, channelKey };
      },
      events: {
        ready: (link) => link.outbox.json(RecordType.announce, { concurrency: 4, services: [], plugins: [], version: 'fake' }),
        record: (_link, type, _flags, batch, start, end) => this.#record(type, readJson.bind(null, batch, start, end)),
        lost: () => undefined,
        refused: (_link, { code, hello }) => {
          if (hello) return;
          this.refused = code;
          void this.stop();
        },
        drain: () => undefined,
        brokers: () => undefined,
      },
    });
  }

  /** Connects and waits for CONFIG. */
  static async connect(t: Pick<TestContext, 'after'>, world: World, worker: Person, broker: Broker): Promise<ResidentPeer> {
    const peer = new ResidentPeer(world, worker, broker);
    t.after(() => peer.stop());
    peer.#uplink.start();
    await until(() => peer.counts.length > 0, { what: `CONFIG for ${worker.identity}` });
    return peer;
  }

  /** Sends KEEP and returns the list that answers it. */
  async keep(journal: string, schedules: readonly HeldSchedule[] = [], released: readonly HeldSchedule[] = []): Promise<ResidentSchedules> {
    this.#keeps += 1;
    const number = this.#keeps;
    this.#uplink.outbox.json(RecordType.keep, { keep: number, journal, schedules, released });
    return until(() => this.lists.find((list) => list.keep === number && list.schedules !== undefined), { what: 'SCHEDULES after KEEP' });
  }

  /** Sends FIRES and returns the answer. */
  async fires(fires: readonly { report: FireReport; output?: Buffer }[]): Promise<Fired> {
    const upload = this.post(fires);
    return until(() => this.answers.find((answer) => answer.upload === upload), { what: 'FIRED' });
  }

  /** Sends FIRES and returns its number. */
  post(fires: readonly { report: FireReport; output?: Buffer }[]): number {
    this.#uploads += 1;
    const upload = this.#uploads;
    const head = Buffer.from(JSON.stringify({ fires: fires.map(({ report }) => report) }));
    const body = Buffer.concat([Buffer.alloc(Layout.fires.head), head, ...fires.map(({ output }) => output ?? Buffer.alloc(0))]);
    body.writeUInt32LE(upload, Layout.fires.upload);
    body.writeUInt32LE(head.length, Layout.fires.headBytes);
    this.#uplink.outbox.copy(RecordType.fires, 0, body, 0, body.length);
    return upload;
  }

  async stop(): Promise<void> {
    await this.#uplink.stop();
  }

  #record(type: number, read: () => unknown): void {
    if (type === RecordType.config) this.counts.push((read() as { schedules?: number }).schedules ?? 0);
    else if (type === RecordType.schedule) this.definitions.push(read() as ResidentSchedule);
    else if (type === RecordType.schedules) this.lists.push(read() as ResidentSchedules);
    else if (type === RecordType.fired) this.answers.push(read() as Fired);
  }
}

/** Output of a run as FIRES carries it. */
export function chunksOf(pieces: readonly { stderr?: boolean; text: string | Buffer }[]): Buffer {
  return Buffer.concat(
    pieces.map(({ stderr, text }) => {
      const data = Buffer.from(text);
      const header = Buffer.alloc(5);
      header[0] = stderr === true ? 1 : 0;
      header.writeUInt32LE(data.length, 1);
      return Buffer.concat([header, data]);
    }),
  );
}

/** The report on a slot that ran and ended well. */
export function ranWell(schedule: number, due: number, output: Buffer, given: Partial<FireReport> = {}): FireReport {
  return {
    schedule,
    generation: 1,
    due,
    outcome: 'fired',
    reason: '',
    at: due + 3,
    run: {
      service: 'svc',
      plugin: 'echo',
      args: { a: 'b' },
      payload: 'hello',
      timeoutMs: 1_000,
      verdict: 'ok',
      exitCode: 0,
      signal: 0,
      error: 0,
      detail: '',
      startedAt: due + 5,
      endedAt: due + 20,
      durationUs: 15_000,
      outputBytes: output.length,
      droppedBytes: 0,
    },
    ...given,
  };
}
