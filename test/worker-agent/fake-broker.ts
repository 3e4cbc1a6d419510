import { curveKeyPair, Router } from 'zeromq';
import { readFires } from '../../edge-broker/schedules/fires-record.ts';
import { readBatch, readJson } from '../../protocol/batch.ts';
import type { Announce, BrokerAddress } from '../../protocol/control.ts';
import { errorCode } from '../../protocol/errors.ts';
import { LIMITS } from '../../protocol/limits.ts';
import { Layout, RecordFlag, RecordType } from '../../protocol/records.ts';
import type { FireReport, Keep, ResidentSchedule } from '../../protocol/resident.ts';
import { type VerdictName, verdictName } from '../../protocol/verdicts.ts';
import { InvocationIds } from '../../runtime/wire/invocation-id.ts';
import { Outbox } from '../../runtime/wire/outbox.ts';
import { until } from '../support/wait.ts';

const ids = new InvocationIds();

/** A RESULT as a test sees it. */
export interface FakeResult {
  readonly verdict: VerdictName;
  readonly exitCode: number;
  readonly signal: number;
  readonly error: string | null;
  readonly detail: string;
  readonly attempt: number;
  readonly durationUs: number;
}

/** What a test asks a worker to do. */
export interface FakeTask {
  readonly plugin: string;
  readonly args?: Readonly<Record<string, string>>;
  readonly payload?: string | Uint8Array;
  readonly timeoutMs?: number;
  readonly credit?: number;
  readonly attempt?: number;
  readonly invocation?: Buffer;
  /** Team of the caller; `team1` when absent. */
  readonly callerTeam?: string;
  /** Grant what was read at once; false leaves it to the test. */
  readonly autoCredit?: boolean;
  /** Keep no output, only count it. */
  readonly countOnly?: boolean;
}

/** One task on its way. */
export class FakeRun {
  readonly number: number;
  readonly invocation: Buffer;
  readonly chunks: { stderr: boolean; data: Buffer; at: number }[] = [];
  started = 0;
  bytes = 0;
  result: FakeResult | null = null;
  results = 0;
  sequence = 0;
  readonly task: FakeTask;

  constructor(number: number, invocation: Buffer, task: FakeTask) {
    this.number = number;
    this.invocation = invocation;
    this.task = task;
  }

  get stdout(): Buffer {
    return Buffer.concat(this.chunks.filter((chunk) => !chunk.stderr).map((chunk) => chunk.data));
  }

  get stderr(): Buffer {
    return Buffer.concat(this.chunks.filter((chunk) => chunk.stderr).map((chunk) => chunk.data));
  }

  async done(timeoutMs = 20_000): Promise<FakeResult> {
    return until(() => this.result, { what: `RESULT of ${this.task.plugin}`, timeoutMs });
  }
}

/** A broker for one worker: real sockets, CURVE and records, and no decisions of its own. */
export class FakeBroker {
  readonly #keys = curveKeyPair();
  readonly #socket = new Router({
    curveServer: true,
    curveSecretKey: this.#keys.secretKey,
    linger: 0,
    maxMessageSize: LIMITS.batchBytes,
    sendHighWaterMark: 0,
  });
  readonly #runs = new Map<number, FakeRun>();
  readonly #plans = new Map<string, number>();
  readonly #id: string;
  services: readonly string[] = ['demo'];
  refusal: { code: string; message: string } | null = null;
  announces: Announce[] = [];
  hellos = 0;
  byes = 0;
  #peer: Buffer | null = null;
  #outbox: Outbox | null = null;
  #closed = false;
  #lastRun = 0;
  violations: string[] = [];
  /** Definitions for the worker to keep, and the version of the configuration that they stand in. */
  schedules: ResidentSchedule[] = [];
  schedulesVersion = 1;
  keeps: Keep[] = [];
  reports: { report: FireReport; output: string }[] = [];
  uploads = 0;
  /** Answer FIRES. */
  confirming = true;

  constructor(id = 'fake') {
    this.#id = id;
  }

  async start(): Promise<void> {
    await this.#socket.bind('tcp://127.0.0.1:*');
    void this.#receive();
  }

  get address(): BrokerAddress {
    return { id: this.#id, endpoint: this.#socket.lastEndpoint as string, publicKey: this.#keys.publicKey, region: 'default' };
  }

  get connected(): boolean {
    return this.#outbox !== null && this.announces.length > 0;
  }

  async announced(): Promise<Announce> {
    return until(() => this.announces.at(-1), { what: 'ANNOUNCE' });
  }

  json(type: number, value: unknown): void {
    this.#out().json(type, value);
  }

  /** Sends a task. */
  send(task: FakeTask): FakeRun {
    const plan = this.#plan(task);
    const payload = Buffer.from(task.payload ?? '');
    this.#lastRun += 1;
    const run = new FakeRun(this.#lastRun, task.invocation ?? ids.next(), task);
    this.#runs.set(run.number, run);
    const out = this.#out();
    const at = out.reserve(RecordType.task, 0, Layout.task.payload + payload.length);
    const { buffer } = out;
    buffer.writeUInt32LE(run.number, at + Layout.task.run);
    buffer.writeUInt32LE(plan, at + Layout.task.plan);
    run.invocation.copy(buffer, at + Layout.task.invocation);
    buffer.writeUInt32LE(task.timeoutMs ?? 30_000, at + Layout.task.timeoutMs);
    buffer.writeUInt32LE(task.credit ?? LIMITS.initialCreditBytes, at + Layout.task.credit);
    buffer.writeUInt32LE(task.attempt ?? 0, at + Layout.task.attempt);
    payload.copy(buffer, at + Layout.task.payload);
    return run;
  }

  /** Sends a task and waits for its end. */
  async run(task: FakeTask): Promise<FakeRun & { result: FakeResult }> {
    const run = this.send(task);
    await run.done((task.timeoutMs ?? 30_000) + 10_000);
    return run as FakeRun & { result: FakeResult };
  }

  credit(run: FakeRun, bytes: number): void {
    const out = this.#out();
    const at = out.reserve(RecordType.credit, 0, Layout.credit.end);
    out.buffer.writeUInt32LE(run.number, at + Layout.credit.call);
    out.buffer.writeUInt32LE(0, at + Layout.credit.worker);
    out.buffer.writeUInt32LE(bytes, at + Layout.credit.bytes);
  }

  cancel(run: FakeRun, timeout = false): void {
    const out = this.#out();
    const at = out.reserve(RecordType.cancel, timeout ? RecordFlag.timeout : 0, Layout.cancel.end);
    out.buffer.writeUInt32LE(run.number, at + Layout.cancel.call);
  }

  unplan(task: FakeTask): void {
    const key = planKey(task);
    this.json(RecordType.unplan, { plan: this.#plans.get(key) });
    this.#plans.delete(key);
  }

  /** Answers the newest KEEP with what the worker keeps. */
  list(): void {
    const keep = this.keeps.at(-1);
    if (keep === undefined) throw new Error('no KEEP came');
    for (const definition of this.schedules) this.json(RecordType.schedule, definition);
    const schedules = this.schedules.map(({ schedule, generation }) => ({ schedule, generation }));
    this.json(RecordType.schedules, { version: this.schedulesVersion, keep: keep.keep, schedules });
  }

  /** Ends the session; the worker connects anew. */
  drop(): void {
    this.json(RecordType.refused, { code: 'TFS_UNAUTHENTICATED', message: 'again', hello: true });
  }

  /** Like a broker that is killed: the sockets are gone without a word. */
  kill(): void {
    this.#closed = true;
    this.#outbox?.close();
    this.#outbox = null;
    this.#socket.close();
  }

  #out(): Outbox {
    if (this.#outbox === null) throw new Error('no worker is connected');
    return this.#outbox;
  }

  #plan(task: FakeTask): number {
    const key = planKey(task);
    const known = this.#plans.get(key);
    if (known !== undefined) return known;
    const plan = this.#plans.size + 1;
    this.#plans.set(key, plan);
    const { plugin, args = {}, callerTeam = 'team1' } = task;
    this.json(RecordType.plan, { plan, plugin, args, service: 'demo', callerTeam, caller: 'hp' });
    return plan;
  }

  async #receive(): Promise<void> {
    try {
      for await (const [peer, batch] of this.#socket) {
        if (peer !== undefined && batch !== undefined) {
          readBatch(batch, (type, flags, source, start, end) => this.#record(peer, type, flags, source, start, end));
        }
      }
    } catch (error) {
      if (!this.#closed) throw error;
    }
  }

  #record(peer: Buffer, type: number, flags: number, batch: Buffer, start: number, end: number): void {
    if (type === RecordType.hello) this.#hello(peer);
    else if (type === RecordType.ping) this.#outbox?.copy(RecordType.pong, 0, batch, start, end);
    else if (type === RecordType.announce) this.announces.push(readJson(batch, start, end) as unknown as Announce);
    else if (type === RecordType.bye) this.byes += 1;
    else if (type === RecordType.started) this.#runOf(batch, start).started += 1;
    else if (type === RecordType.output) this.#output(flags, batch, start, end);
    else if (type === RecordType.result) this.#result(batch, start, end);
    else if (type === RecordType.keep) this.#keep(readJson(batch, start, end) as unknown as Keep);
    else if (type === RecordType.fires) this.#fires(batch, start, end);
  }

  #keep(keep: Keep): void {
    this.keeps.push(keep);
    this.list();
  }

  #fires(batch: Buffer, start: number, end: number): void {
    const { upload, fires } = readFires(batch, start, end);
    this.uploads += 1;
    if (!this.confirming) return;
    for (const { report, chunks } of fires) this.reports.push({ report, output: chunks.map(({ data }) => data.toString()).join('') });
    this.json(RecordType.fired, { upload });
  }

  #hello(peer: Buffer): void {
    this.hellos += 1;
    this.#peer = peer;
    this.#plans.clear();
    this.#outbox?.close();
    const outbox = new Outbox(
      (batch) => (this.#peer === peer && !this.#closed ? this.#socket.send([peer, batch]) : Promise.resolve()),
      () => undefined,
    );
    this.#outbox = outbox;
    if (this.refusal !== null) {
      this.json(RecordType.refused, { ...this.refusal, hello: false });
      return;
    }
    this.json(RecordType.welcome, {
      session: 's',
      broker: this.#id,
      role: 'worker',
      team: 'team1',
      identity: 'demo01',
      serverTime: Date.now(),
      brokers: [],
    });
    this.json(RecordType.config, { services: this.services, schedules: this.schedules.length });
  }

  #runOf(batch: Buffer, start: number): FakeRun {
    const run = this.#runs.get(batch.readUInt32LE(start));
    if (run === undefined) throw new Error('a record for an unknown run');
    return run;
  }

  #output(flags: number, batch: Buffer, start: number, end: number): void {
    const run = this.#runOf(batch, start);
    const data = start + Layout.output.data;
    const sequence = batch.readUInt32LE(start + Layout.output.sequence);
    if (run.started === 0) this.violations.push('OUTPUT before STARTED');
    if (run.result !== null) this.violations.push('OUTPUT after RESULT');
    if (sequence !== run.sequence) this.violations.push(`OUTPUT ${sequence}, expected ${run.sequence}`);
    if (end - data > LIMITS.outputBytes) this.violations.push(`OUTPUT of ${end - data} bytes`);
    run.sequence += 1;
    run.bytes += end - data;
    if (run.task.countOnly !== true) {
      run.chunks.push({ stderr: (flags & RecordFlag.stderr) !== 0, data: Buffer.from(batch.subarray(data, end)), at: performance.now() });
    }
    if (run.task.autoCredit !== false) this.credit(run, end - data);
  }

  #result(batch: Buffer, start: number, end: number): void {
    const run = this.#runOf(batch, start);
    run.results += 1;
    if (run.results > 1) this.violations.push('a second RESULT');
    run.result = {
      verdict: verdictName(batch[start + Layout.result.verdict] as number),
      exitCode: batch.readInt16LE(start + Layout.result.exitCode),
      signal: batch[start + Layout.result.signal] as number,
      attempt: batch[start + Layout.result.attempt] as number,
      error: errorCode(batch.readUInt16LE(start + Layout.result.error)),
      durationUs: batch.readUInt32LE(start + Layout.result.durationUs),
      detail: batch.toString('utf8', start + Layout.result.detail, end),
    };
  }
}

function planKey(task: FakeTask): string {
  return `${task.callerTeam ?? ''} ${task.plugin} ${JSON.stringify(task.args ?? {})}`;
}
