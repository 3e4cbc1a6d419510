import { curveKeyPair, Router } from 'zeromq';
import { BatchWriter, readBatch, readJson } from '../../protocol/batch.ts';
import type { BrokerAddress, Hello, Refused, Route, Welcome } from '../../protocol/control.ts';
import { ERRORS, type ErrorCode } from '../../protocol/errors.ts';
import { Layout, RecordFlag, RecordType } from '../../protocol/records.ts';
import { Verdict } from '../../protocol/verdicts.ts';

/** A REQUEST as the fake broker saw it. */
export interface FakeRequest {
  readonly peer: FakePeer;
  readonly call: number;
  readonly route: Route;
  readonly invocation: string;
  readonly timeoutMs: number;
  readonly credit: number;
  readonly resume: boolean;
  readonly once: boolean;
  readonly resumeWorker: number;
  readonly payload: Buffer;
}

/** Fields of a RESULT that a test sets. */
export interface FakeResult {
  readonly verdict?: number;
  readonly exitCode?: number;
  readonly worker?: number;
  readonly attempt?: number;
  readonly signal?: number;
  readonly error?: ErrorCode;
  readonly detail?: string;
  readonly last?: boolean;
}

/** One client's session at the fake broker; writes the records that a broker writes. */
export class FakePeer {
  readonly id: Buffer;
  readonly routes = new Map<number, Route>();
  readonly cancels: { call: number; timeout: boolean }[] = [];
  readonly credits = new Map<number, number>();
  hello: Hello | null = null;
  bye = false;
  /** Token of the last RENEW. */
  renewed = '';
  readonly #writer = new BatchWriter();
  readonly #broker: FakeBroker;
  readonly #named = new Set<number>();
  #scheduled = false;
  onCredit: (call: number, worker: number, bytes: number) => void = () => {};

  constructor(broker: FakeBroker, id: Buffer) {
    this.#broker = broker;
    this.id = id;
  }

  json(type: number, value: unknown): void {
    this.#due();
    this.#writer.json(type, value);
  }

  worker(number: number): void {
    if (number === 0 || this.#named.has(number)) return;
    this.#named.add(number);
    const name = this.#broker.workerName(number);
    const at = this.#reserve(RecordType.worker, 0, Layout.worker.name + name.length);
    this.#writer.buffer.writeUInt32LE(number, at);
    this.#writer.buffer.write(name, at + Layout.worker.name);
  }

  manifest(call: number, workers: readonly number[], { algorithm = 0, attempt = 0, limitMs = 10_000 } = {}): void {
    for (const worker of workers) this.worker(worker);
    const at = this.#reserve(RecordType.manifest, 0, Layout.manifest.workers + 4 * workers.length);
    const { buffer } = this.#writer;
    buffer.writeUInt32LE(call, at);
    buffer[at + Layout.manifest.algorithm] = algorithm;
    buffer[at + Layout.manifest.attempt] = attempt;
    buffer.writeUInt16LE(workers.length, at + Layout.manifest.expected);
    buffer.writeUInt32LE(limitMs, at + Layout.manifest.limitMs);
    for (const [i, worker] of workers.entries()) buffer.writeUInt32LE(worker, at + Layout.manifest.workers + 4 * i);
  }

  output(call: number, worker: number, sequence: number, data: Buffer | string, stderr = false): void {
    this.worker(worker);
    const bytes = Buffer.from(data);
    const at = this.#reserve(RecordType.output, stderr ? RecordFlag.stderr : 0, Layout.output.data + bytes.length);
    const { buffer } = this.#writer;
    buffer.writeUInt32LE(call, at);
    buffer.writeUInt32LE(worker, at + Layout.output.worker);
    buffer.writeUInt32LE(sequence, at + Layout.output.sequence);
    bytes.copy(buffer, at + Layout.output.data);
  }

  result(call: number, fields: FakeResult = {}): void {
    const { verdict = Verdict.ok, exitCode = 0, worker = 1, attempt = 0, signal = 0, error, detail = '', last = true } = fields;
    this.worker(worker);
    const text = Buffer.from(detail);
    const at = this.#reserve(RecordType.result, last ? RecordFlag.last : 0, Layout.result.detail + text.length);
    const { buffer } = this.#writer;
    buffer.writeUInt32LE(call, at);
    buffer.writeUInt32LE(worker, at + Layout.result.worker);
    buffer.writeUInt32LE(1234, at + Layout.result.durationUs);
    buffer.writeInt16LE(exitCode, at + Layout.result.exitCode);
    buffer[at + Layout.result.verdict] = verdict;
    buffer[at + Layout.result.attempt] = attempt;
    buffer[at + Layout.result.signal] = signal;
    buffer[at + Layout.result.signal + 1] = 0;
    buffer.writeUInt16LE(error === undefined ? 0 : ERRORS[error].number, at + Layout.result.error);
    text.copy(buffer, at + Layout.result.detail);
  }

  refuse(refused: Refused): void {
    this.json(RecordType.refused, refused);
  }

  drain(): void {
    this.#reserve(RecordType.drain, 0, 0);
  }

  /** Sends bytes that are no batch. */
  garbage(bytes: Buffer): void {
    this.#broker.send(this.id, bytes);
  }

  #reserve(type: number, flags: number, bytes: number): number {
    this.#due();
    return this.#writer.reserve(type, flags, bytes);
  }

  #due(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#scheduled = false;
      this.#broker.send(this.id, this.#writer.take());
    });
  }
}

/** A broker for tests of the client: a real ROUTER socket with CURVE and the real codec; what it answers, the test says. */
export class FakeBroker {
  readonly name: string;
  readonly requests: FakeRequest[] = [];
  readonly peers = new Map<string, FakePeer>();
  /** What happens with a REQUEST. Default: echo. */
  onRequest: (request: FakeRequest) => void = echo;
  onCancel: (peer: FakePeer, call: number) => void = () => {};
  /** What happens with a HELLO: false stays silent. */
  onHello: (peer: FakePeer, hello: Hello) => boolean = () => true;
  /** The fleet that WELCOME names; this broker alone when absent. */
  fleet: readonly BrokerAddress[] | null = null;
  readonly #keys: { publicKey: string; secretKey: string };
  #socket: Router | null = null;
  #endpoint = '';
  #sending: Promise<void> = Promise.resolve();

  private constructor(name: string, keys: { publicKey: string; secretKey: string }) {
    this.name = name;
    this.#keys = keys;
  }

  static async start(name = 'b1'): Promise<FakeBroker> {
    const broker = new FakeBroker(name, curveKeyPair());
    await broker.open('tcp://127.0.0.1:0');
    return broker;
  }

  get address(): BrokerAddress {
    return { id: this.name, endpoint: this.#endpoint, publicKey: this.#keys.publicKey, region: 'default' };
  }

  /** Sessions that said HELLO and not BYE. */
  get sessions(): FakePeer[] {
    return [...this.peers.values()].filter((peer) => peer.hello !== null && !peer.bye);
  }

  workerName(number: number): string {
    return `demo${String(number).padStart(2, '0')}`;
  }

  /** Listens, again after `kill` at the same address. */
  async open(endpoint = this.#endpoint): Promise<void> {
    const socket = new Router({ linger: 0, mandatory: false, curveServer: true, curveSecretKey: this.#keys.secretKey, sendTimeout: 0 });
    for (let tries = 0; ; tries += 1) {
      try {
        await socket.bind(endpoint);
        break;
      } catch (error) {
        if (tries > 100) throw error;
        await new Promise((resolve) => setTimeout(resolve, 10));
      }
    }
    this.#endpoint = socket.lastEndpoint as string;
    this.#socket = socket;
    void this.#receive(socket);
  }

  /** Ends like a process that was killed: everything unsent is lost. */
  kill(): void {
    const socket = this.#socket;
    if (socket === null) return;
    this.#socket = null;
    this.peers.clear();
    socket.close();
  }

  send(id: Buffer, batch: Buffer): void {
    const socket = this.#socket;
    this.#sending = this.#sending.then(() => socket?.send([id, batch])).catch(() => {});
  }

  async #receive(socket: Router): Promise<void> {
    try {
      for await (const [id, batch] of socket) {
        if (id !== undefined && batch !== undefined && this.#socket === socket) this.#read(id, batch);
      }
    } catch (error) {
      if (this.#socket === socket) throw error;
    }
  }

  #read(id: Buffer, batch: Buffer): void {
    const key = id.toString('hex');
    let peer = this.peers.get(key);
    if (peer === undefined) {
      peer = new FakePeer(this, Buffer.from(id));
      this.peers.set(key, peer);
    }
    const known = peer;
    readBatch(batch, (type, flags, bytes, start, end) => this.#visit(known, type, flags, bytes, start, end));
  }

  #visit(peer: FakePeer, type: number, flags: number, batch: Buffer, start: number, end: number): void {
    if (type === RecordType.hello) {
      peer.hello = readJson(batch, start, end) as unknown as Hello;
      if (this.onHello(peer, peer.hello)) peer.json(RecordType.welcome, this.#welcome());
    } else if (type === RecordType.ping) {
      const token = Buffer.from(batch.subarray(start, end));
      const writer = new BatchWriter();
      writer.write(RecordType.pong, 0, token);
      this.send(peer.id, writer.take());
    } else if (type === RecordType.renew) {
      peer.renewed = readJson(batch, start, end).token as string;
    } else if (type === RecordType.bye) {
      peer.bye = true;
    } else if (type === RecordType.route) {
      const route = readJson(batch, start, end) as unknown as Route;
      peer.routes.set(route.route, route);
    } else if (type === RecordType.unroute) {
      peer.routes.delete(readJson(batch, start, end).route as number);
    } else if (type === RecordType.credit) {
      const call = batch.readUInt32LE(start);
      const bytes = batch.readUInt32LE(start + Layout.credit.bytes);
      peer.credits.set(call, (peer.credits.get(call) ?? 0) + bytes);
      peer.onCredit(call, batch.readUInt32LE(start + Layout.credit.worker), bytes);
    } else if (type === RecordType.cancel) {
      const call = batch.readUInt32LE(start);
      peer.cancels.push({ call, timeout: (flags & RecordFlag.timeout) !== 0 });
      this.onCancel(peer, call);
    } else if (type === RecordType.request) {
      this.#request(peer, flags, batch, start, end);
    }
  }

  #request(peer: FakePeer, flags: number, batch: Buffer, start: number, end: number): void {
    const { request } = Layout;
    const route = peer.routes.get(batch.readUInt32LE(start + request.route));
    if (route === undefined) throw new Error('REQUEST before its ROUTE');
    const seen: FakeRequest = {
      peer,
      call: batch.readUInt32LE(start),
      route,
      invocation: batch.toString('hex', start + request.invocation, start + request.invocation + 16),
      timeoutMs: batch.readUInt32LE(start + request.timeoutMs),
      credit: batch.readUInt32LE(start + request.credit),
      resume: (flags & RecordFlag.resume) !== 0,
      once: (flags & RecordFlag.once) !== 0,
      resumeWorker: batch.readUInt32LE(start + request.resumeWorker),
      payload: Buffer.from(batch.subarray(start + request.payload, end)),
    };
    this.requests.push(seen);
    this.onRequest(seen);
  }

  #welcome(): Welcome {
    return {
      session: 's1',
      broker: this.name,
      role: 'client',
      team: 'demo',
      identity: 'demo',
      serverTime: Date.now(),
      brokers: this.fleet ?? [this.address],
    };
  }
}

/** Answers as an echo plugin on one worker. */
export function echo({ peer, call, payload }: FakeRequest): void {
  peer.manifest(call, [1]);
  peer.output(call, 1, 0, payload);
  peer.result(call);
}
