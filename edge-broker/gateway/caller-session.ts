import { BatchWriter, readBatch } from '../../protocol/batch.ts';
import { TriggerFsError } from '../../protocol/errors.ts';
import { LIMITS } from '../../protocol/limits.ts';
import { joinOutcome } from '../../protocol/outcome.ts';
import { Layout, RecordFlag, RecordType } from '../../protocol/records.ts';
import type { Logger } from '../../runtime/logging.ts';
import { formatInvocationId, InvocationIds } from '../../runtime/wire/invocation-id.ts';
import { SlotTable } from '../../runtime/wire/slot-table.ts';
import { PeerOutbox } from '../session/peer-outbox.ts';
import { Session } from '../session/session.ts';
import type { Sessions } from '../session/sessions.ts';
import { readManifest, readVerdict } from './answer-records.ts';
import type { Bearer } from './bearers.ts';
import { Call, type CallKeeper, type CallSink } from './call.ts';
import { CallerRoutes, type Rule } from './caller-routes.ts';
import { readRefusal } from './refusal.ts';

/** One invocation to start. */
export interface InvokeRequest extends Rule {
  readonly payload: Buffer;
  /** 0: the service's. */
  readonly timeoutMs: number;
}

/** ZeroMQ never gives this number to a connection, and no record ever leaves for it. */
const NO_PEER = -1;
const NO_ROUTING_ID = Buffer.alloc(5);

/**
 * A session inside the broker for one caller of the gateway. It speaks the records that ZeroMQ peers speak, so that
 * rights, routes, credit and accounting are the same for both.
 *
 *   open ──revoked, idle, shutdown, refused by the broker──▶ closed
 *
 * closed: every call has ended with the reason, and its runs were cancelled.
 */
export class CallerSession implements CallKeeper {
  readonly bearer: Bearer;
  /** Milliseconds since 1970. */
  lastUsed = 0;
  readonly #sessions: Sessions;
  readonly #log: Logger;
  readonly #session: Session;
  readonly #outbox: PeerOutbox;
  readonly #writer = new BatchWriter();
  readonly #ids = new InvocationIds();
  readonly #calls = new SlotTable<Call>();
  readonly #workers = new Map<number, string>();
  readonly #routes: CallerRoutes;
  #closed = false;

  constructor(bearer: Bearer, sessions: Sessions, log: Logger) {
    this.bearer = bearer;
    this.#sessions = sessions;
    this.#log = log;
    this.#outbox = new PeerOutbox(NO_ROUTING_ID, () => setImmediate(this.#read));
    this.#session = new Session(NO_PEER, this.#outbox, Date.now());
    this.#session.open(bearer.principal);
    this.#routes = new CallerRoutes({
      route: (route, { service, plugin, args }) => this.#writer.json(RecordType.route, { route, service, plugin, args }),
      unroute: (route) => this.#writer.json(RecordType.unroute, { route }),
    });
  }

  /** Calls that are not done. */
  get size(): number {
    return this.#calls.size;
  }

  /** No call may be started any more. */
  get closed(): boolean {
    return this.#closed;
  }

  /** Starts an invocation; nothing reaches the sink before this returns. */
  start(request: InvokeRequest, sink: CallSink): Call {
    const id = this.#ids.next();
    const call = new Call(this, formatInvocationId(id), this.#routes.acquire(request), sink);
    call.number = this.#calls.add(call);
    this.#writeRequest(call, id, request);
    this.#flush();
    return call;
  }

  grant(call: Call, worker: number, bytes: number): void {
    const { credit } = Layout;
    const at = this.#writer.reserve(RecordType.credit, 0, credit.end);
    this.#writer.buffer.writeUInt32LE(call.number, at + credit.call);
    this.#writer.buffer.writeUInt32LE(worker, at + credit.worker);
    this.#writer.buffer.writeUInt32LE(bytes, at + credit.bytes);
    this.#flush();
  }

  cancel(call: Call): void {
    const at = this.#writer.reserve(RecordType.cancel, 0, Layout.cancel.end);
    this.#writer.buffer.writeUInt32LE(call.number, at + Layout.cancel.call);
    this.#flush();
  }

  /** Ends the session: its calls end with the reason, their runs are cancelled. */
  close(reason: TriggerFsError): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#writer.clear();
    this.#sessions.close(this.#session, reason.message);
    for (const call of this.#calls.values()) {
      const worker = '';
      const given = { worker, verdict: 'cancelled', exitCode: 0, signal: 0, attempt: 0, durationUs: 0, error: reason.code } as const;
      call.outcome = joinOutcome(call.outcome, { ...given, detail: reason.message });
      this.#finish(call);
    }
  }

  #writeRequest(call: Call, id: Buffer, { payload, timeoutMs }: InvokeRequest): void {
    const { request } = Layout;
    const at = this.#writer.reserve(RecordType.request, 0, request.payload + payload.length);
    const { buffer } = this.#writer;
    buffer.writeUInt32LE(call.number, at + request.call);
    buffer.writeUInt32LE(call.route.number, at + request.route);
    id.copy(buffer, at + request.invocation);
    buffer.writeUInt32LE(timeoutMs, at + request.timeoutMs);
    buffer.writeUInt32LE(LIMITS.initialCreditBytes, at + request.credit);
    buffer.writeUInt32LE(0, at + request.resumeWorker);
    payload.copy(buffer, at + request.payload);
  }

  #flush(): void {
    if (this.#closed || this.#writer.empty) return;
    try {
      this.#sessions.handle(this.#session, this.#writer.take(), Date.now());
    } catch (error) {
      setImmediate(() => this.#fail(error));
    }
  }

  #fail(err: unknown): void {
    this.#log.error({ err }, 'a session of the gateway failed');
    this.close(new TriggerFsError('TFS_INTERNAL', 'the session of the gateway failed'));
  }

  /** Reads what the broker has written, in a turn of its own: never inside the handling of a batch. */
  readonly #read = (): void => {
    this.#outbox.queued = false;
    try {
      for (let batch = this.#outbox.take(); batch !== null; batch = this.#outbox.take()) readBatch(batch, this.#visit);
    } catch (error) {
      this.#fail(error);
    }
  };

  readonly #visit = (type: number, flags: number, batch: Buffer, start: number, end: number): void => {
    if (this.#closed) return;
    if (type === RecordType.worker) {
      this.#workers.set(batch.readUInt32LE(start), batch.toString('utf8', start + Layout.worker.name, end));
    } else if (type === RecordType.refused) {
      this.close(readRefusal(batch, start, end));
    } else if (type === RecordType.manifest || type === RecordType.output || type === RecordType.result) {
      const call = this.#calls.get(batch.readUInt32LE(start));
      if (call !== undefined) this.#answer(call, type, flags, batch, start, end);
    }
  };

  #answer(call: Call, type: number, flags: number, batch: Buffer, start: number, end: number): void {
    if (type === RecordType.manifest) {
      call.sink.manifest(readManifest(call.invocation, this.#nameOf, batch, start, end));
    } else if (type === RecordType.output) {
      const worker = batch.readUInt32LE(start + Layout.output.worker);
      const sequence = batch.readUInt32LE(start + Layout.output.sequence);
      const stream = (flags & RecordFlag.stderr) === 0 ? 'stdout' : 'stderr';
      const data = batch.subarray(start + Layout.output.data, end);
      call.sink.output({ worker, identity: this.#nameOf(worker), stream, sequence, data });
    } else {
      const verdict = readVerdict(this.#nameOf, batch, start, end);
      call.outcome = joinOutcome(call.outcome, verdict);
      call.sink.verdict(verdict);
      if ((flags & RecordFlag.last) !== 0) this.#finish(call);
    }
  }

  #finish(call: Call): void {
    if (call.done || call.outcome === null) return;
    call.done = true;
    this.#calls.remove(call.number);
    this.#routes.release(call.route);
    this.#flush();
    call.sink.done(call.outcome);
  }

  readonly #nameOf = (worker: number): string => this.#workers.get(worker) ?? '';
}
