import { readJson } from '../protocol/batch.ts';
import type { BrokerAddress, Changed, Refused, Welcome } from '../protocol/control.ts';
import { Layout, RecordFlag, RecordType } from '../protocol/records.ts';
import type { Log } from '../runtime/logging.ts';
import { Uplink, type UplinkCredentials, type UplinkEvents } from '../runtime/wire/uplink.ts';
import type { PendingCall } from './call.ts';
import type { ClientRoute } from './route.ts';

/** What a session tells its owner. */
export interface SessionEvents {
  ready(session: Session): void;
  lost(session: Session, reason: string): void;
  failed(session: Session, reason: string): void;
  refused(session: Session, refused: Refused): void;
  drained(session: Session): void;
  brokers(brokers: readonly BrokerAddress[]): void;
  changed(version: number): void;
  /** MANIFEST, OUTPUT and RESULT. */
  answer(session: Session, type: number, flags: number, batch: Buffer, start: number, end: number): void;
}

/** One broker's session with what has been said in it: the rules we sent and the workers' names it sent. */
export class Session implements UplinkEvents {
  readonly uplink: Uplink;
  readonly #events: SessionEvents;
  readonly #announced = new Set<number>();
  readonly #workers = new Map<number, string>();
  /** The token that the broker knows, and the newest one. */
  #token = '';
  #newestToken: string | null = null;
  /** Calls that wait for answers here; kept by the call table. */
  inFlight = 0;

  constructor(broker: BrokerAddress, credentials: () => Promise<UplinkCredentials>, log: Log, events: SessionEvents) {
    this.#events = events;
    const remembering = async (): Promise<UplinkCredentials> => {
      const given = await credentials();
      this.#token = given.hello.token;
      return given;
    };
    this.uplink = new Uplink({ broker, credentials: remembering, events: this, log });
  }

  /** The session is open. */
  get open(): boolean {
    return this.uplink.ready;
  }

  /** The broker is shutting down: it finishes what it has. */
  get draining(): boolean {
    return this.uplink.draining;
  }

  /** Identity behind a worker number; empty for 0, which stands for no worker. */
  workerName(worker: number): string {
    if (worker === 0) return '';
    return this.#workers.get(worker) ?? `worker-${worker}`;
  }

  /** Number of a worker by its identity; 0 when unknown. */
  workerNumber(name: string): number {
    for (const [number, candidate] of this.#workers) if (candidate === name) return number;
    return 0;
  }

  /** Writes REQUEST and, the first time, its ROUTE. `timeoutMs` is what is left of it. */
  request(call: PendingCall, timeoutMs: number): void {
    const { outbox } = this.uplink;
    const { route, payload } = call;
    if (!this.#announced.has(route.number)) this.#announce(route);
    const flags = (call.resume ? RecordFlag.resume : 0) | (call.detached ? RecordFlag.detached : 0) | (call.once ? RecordFlag.once : 0);
    const at = outbox.reserve(RecordType.request, flags, Layout.request.payload + payload.length);
    const { buffer } = outbox;
    buffer.writeUInt32LE(call.number, at + Layout.request.call);
    buffer.writeUInt32LE(route.number, at + Layout.request.route);
    call.writeId(buffer, at + Layout.request.invocation);
    buffer.writeUInt32LE(timeoutMs, at + Layout.request.timeoutMs);
    buffer.writeUInt32LE(call.credit, at + Layout.request.credit);
    buffer.writeUInt32LE(call.resumeWorker, at + Layout.request.resumeWorker);
    payload.copy(buffer, at + Layout.request.payload);
  }

  /** Writes CREDIT. */
  credit(call: number, worker: number, bytes: number): void {
    const { outbox } = this.uplink;
    const at = outbox.reserve(RecordType.credit, 0, Layout.credit.end);
    const { buffer } = outbox;
    buffer.writeUInt32LE(call, at + Layout.credit.call);
    buffer.writeUInt32LE(worker, at + Layout.credit.worker);
    buffer.writeUInt32LE(bytes, at + Layout.credit.bytes);
  }

  /** Writes CANCEL. */
  cancel(call: number, timeout: boolean): void {
    const { outbox } = this.uplink;
    const at = outbox.reserve(RecordType.cancel, timeout ? RecordFlag.timeout : 0, Layout.cancel.end);
    outbox.buffer.writeUInt32LE(call, at);
  }

  /** Hands a fresh token over, now or, when the session is just being opened, as soon as it is open. */
  renew(token: string): void {
    this.#newestToken = token;
    if (!this.open || token === this.#token) return;
    this.#token = token;
    this.uplink.renew(token);
  }

  /** Writes UNROUTE where the rule was announced. */
  unroute(route: number): void {
    if (this.open && this.#announced.delete(route)) this.uplink.outbox.json(RecordType.unroute, { route });
  }

  #announce(route: ClientRoute): void {
    const { service, plugin, args, trigger, origin } = route.rule;
    this.uplink.outbox.json(RecordType.route, { route: route.number, service, plugin, args, trigger, origin });
    this.#announced.add(route.number);
  }

  ready(_uplink: Uplink, welcome: Welcome): void {
    this.#announced.clear();
    this.#workers.clear();
    if (this.#newestToken !== null) this.renew(this.#newestToken);
    this.#events.ready(this);
    this.#events.brokers(welcome.brokers);
  }

  record(_uplink: Uplink, type: number, flags: number, batch: Buffer, start: number, end: number): void {
    if (type === RecordType.worker) {
      this.#workers.set(batch.readUInt32LE(start), batch.toString('utf8', start + Layout.worker.name, end));
    } else if (type === RecordType.changed) {
      this.#events.changed((readJson(batch, start, end) as unknown as Changed).version);
    } else {
      this.#events.answer(this, type, flags, batch, start, end);
    }
  }

  lost(_uplink: Uplink, reason: string): void {
    this.#events.lost(this, reason);
  }

  failed(_uplink: Uplink, reason: string): void {
    this.#events.failed(this, reason);
  }

  refused(_uplink: Uplink, refused: Refused): void {
    this.#events.refused(this, refused);
  }

  drain(): void {
    this.#events.drained(this);
  }

  brokers(brokers: readonly BrokerAddress[]): void {
    this.#events.brokers(brokers);
  }
}
