import { Compile } from 'typebox/compile';
import { MalformedBatchError, readBatch, readJson } from '../../protocol/batch.ts';
import {
  Announce,
  type Brokers,
  type Changed,
  Hello,
  Renew,
  Route,
  Unroute,
  type Welcome,
  type WorkerConfig,
} from '../../protocol/control.ts';
import { type ErrorCode, TriggerFsError } from '../../protocol/errors.ts';
import { LIMITS } from '../../protocol/limits.ts';
import { Layout, RecordType, recordName } from '../../protocol/records.ts';
import { Keep } from '../../protocol/resident.ts';
import type { Logger } from '../../runtime/logging.ts';
import type { Directory } from '../directory/directory.ts';
import type { Dispatcher } from '../dispatch/dispatcher.ts';
import { RouteEntry } from '../dispatch/route-entry.ts';
import { WorkerSession } from '../dispatch/worker-session.ts';
import type { ResidentDesk } from '../schedules/resident-desk.ts';
import type { Authenticator } from './authenticator.ts';
import type { PeerOutbox } from './peer-outbox.ts';
import { mayRecord, type SessionRole } from './permissions.ts';
import { Session } from './session.ts';

const MAX_ROUTES = 10_000;
/** A peer for which more than this waits does not read; credit alone never lets a reader fall so far behind. */
const MAX_PENDING_BYTES = 128 * 1024 * 1024;
/** A peer that was silent for this long is asked whether it is there: it may have nothing to say to what it is sent. */
const ASK_AFTER_MS = 2 * LIMITS.pingMs;
const PROBE = Buffer.alloc(Layout.ping.end);

const check = {
  hello: Compile(Hello),
  renew: Compile(Renew),
  route: Compile(Route),
  unroute: Compile(Unroute),
  announce: Compile(Announce),
  keep: Compile(Keep),
};

/** What the sessions need from their surroundings. */
export interface SessionsOptions {
  readonly brokerId: string;
  readonly directory: Directory;
  readonly dispatcher: Dispatcher;
  readonly authenticator: Authenticator;
  readonly openOutbox: (routingId: Buffer) => PeerOutbox;
  readonly residents: ResidentDesk;
  /** Called when a worker came, changed or left. */
  readonly presenceChanged: () => void;
  readonly log: Logger;
}

/** Counters of the session layer; metrics read them. */
export interface SessionCounters {
  opened: number;
  refused: number;
  /** Records that the sender had no right to send. */
  denied: number;
  malformed: number;
  lost: number;
}

/**
 * All peers of the broker's socket, by ZeroMQ's connection number. Decides what a record may do and to whom it belongs;
 * what it means is the dispatcher's business. A peer that misbehaves loses its session and nothing else happens.
 */
export class Sessions {
  readonly counters: SessionCounters = { opened: 0, refused: 0, denied: 0, malformed: 0, lost: 0 };
  readonly #options: SessionsOptions;
  readonly #sessions = new Map<number, Session>();
  #current: Session | null = null;
  #lastSweep = Date.now();

  constructor(options: SessionsOptions) {
    this.#options = options;
    options.directory.onChange((teamId, version) => this.#configChanged(teamId, version));
  }

  /** Open sessions. */
  get size(): number {
    return this.#sessions.size;
  }

  /** Open sessions by role. */
  countByRole(): Record<SessionRole, number> {
    const counts = { new: 0, client: 0, worker: 0 };
    for (const { role } of this.#sessions.values()) counts[role] += 1;
    return counts;
  }

  /** Handles one batch of a peer; never throws for what a peer sent. */
  batch(peer: number, routingId: Buffer, batch: Buffer): void {
    const now = Date.now();
    let session = this.#sessions.get(peer);
    if (session === undefined) {
      session = new Session(peer, this.#options.openOutbox(routingId), now);
      this.#sessions.set(peer, session);
    }
    session.lastReceived = now;
    if (session.role === 'new' && !this.#withinBudget(session, batch.length)) return;
    this.handle(session, batch, now);
  }

  /** Handles a batch of a known session (the HTTP gateway's sessions have no peer). */
  handle(session: Session, batch: Buffer, now: number): void {
    const { dispatcher } = this.#options;
    dispatcher.beginBatch(now);
    this.#current = session;
    try {
      readBatch(batch, this.#visit);
    } catch (error) {
      if (!(error instanceof MalformedBatchError)) throw error;
      this.counters.malformed += 1;
      this.#refuse(session, 'TFS_PROTOCOL', error.message, false);
      this.close(session, error.message);
    } finally {
      this.#current = null;
      dispatcher.endBatch();
    }
  }

  /** A peer's connection is gone. */
  unreachable(peer: number): void {
    const session = this.#sessions.get(peer);
    if (session !== undefined) this.close(session, 'connection lost');
  }

  /** Ends a session: its calls are cancelled or its runs moved. */
  close(session: Session, reason: string): void {
    if (this.#sessions.get(session.peer) === session) this.#sessions.delete(session.peer);
    session.outbox.retired = true;
    const { worker } = session;
    session.worker = null;
    if (session.role === 'new') return;
    this.counters.lost += 1;
    this.#options.log.debug(`session of ${session.principal.team}/${session.principal.identity} ended: ${reason}`);
    if (worker !== null) {
      this.#options.dispatcher.workerLost(worker);
      this.#options.residents.gone(worker);
      this.#options.presenceChanged();
    }
    this.#options.dispatcher.callerLost(session);
  }

  /** Tells all peers that this broker shuts down. */
  announceDrain(): void {
    for (const session of this.#sessions.values()) session.outbox.reserve(RecordType.drain, 0, 0);
  }

  /** Sends everybody a ping: to peers whose connection is gone that fails at once, long before their silence is noticed. */
  probe(): void {
    for (const session of this.#sessions.values()) if (session.role !== 'new') this.#ping(session);
  }

  /** Drops silent, expired and never opened sessions, and asks those that have said nothing lately. Called once a second or more often. */
  sweep(): void {
    const now = Date.now();
    const stall = now - this.#lastSweep;
    this.#lastSweep = now;
    for (const session of [...this.#sessions.values()]) {
      // When this process itself stood still, nobody's silence means anything.
      if (stall > 2 * LIMITS.pingMs) session.lastReceived = now;
      if (session.role === 'new') this.#sweepNew(session, now);
      else this.#sweepOpen(session, now);
    }
  }

  #sweepNew(session: Session, now: number): void {
    if (now - session.createdAt <= LIMITS.helloMs) return;
    // Whoever still pings believes in a session that has ended here.
    if (!session.told) this.#refuse(session, 'TFS_UNAUTHENTICATED', `no HELLO within ${LIMITS.helloMs} ms`, true);
    this.close(session, 'no HELLO');
  }

  #sweepOpen(session: Session, now: number): void {
    const silence = now - session.lastReceived;
    if (silence > LIMITS.deadMs) {
      // It may live and not know: without a word it would wait for answers that never come.
      this.#refuse(session, 'TFS_BROKER_LOST', `the broker heard nothing for ${silence} ms`, true);
      this.close(session, `silent for ${silence} ms`);
    } else if (session.outbox.pendingBytes > MAX_PENDING_BYTES) {
      this.close(session, `does not read: ${session.outbox.pendingBytes} bytes wait`);
    } else if (session.principal.expiresAt * 1000 < now) {
      this.#refuse(session, 'TFS_UNAUTHENTICATED', 'the token has expired', true);
      this.close(session, 'token expired');
    } else if (silence > ASK_AFTER_MS && session.askedAt <= session.lastReceived) {
      session.askedAt = now;
      this.#ping(session);
    }
  }

  /** Sends the fleet to everybody. */
  announceBrokers(): void {
    const body: Brokers = { brokers: this.#options.directory.fleet.brokers };
    for (const session of this.#sessions.values()) if (session.role !== 'new') session.outbox.json(RecordType.brokers, body);
  }

  #withinBudget(session: Session, bytes: number): boolean {
    session.helloBytes += bytes;
    if (session.helloBytes <= LIMITS.helloBytes) return true;
    this.counters.denied += 1;
    return false;
  }

  readonly #visit = (type: number, flags: number, batch: Buffer, start: number, end: number): void => {
    const session = this.#current as Session;
    if (mayRecord(session.role, type)) this.#record(session, type, flags, batch, start, end);
    else this.#denied(session, type);
  };

  #denied(session: Session, type: number): void {
    this.counters.denied += 1;
    if (session.role === 'new') {
      // Usually a peer whose session has ended here: it must say who it is again. It is told once, and nothing more is read of it.
      if (session.told) return;
      session.told = true;
      session.helloBytes = LIMITS.helloBytes;
      this.#refuse(session, 'TFS_UNAUTHENTICATED', 'say HELLO first', true);
      return;
    }
    this.#options.log.warn(
      `${session.principal.team}/${session.principal.identity} sent ${recordName(type)}, which a ${session.role} may not send`,
    );
  }

  #record(session: Session, type: number, flags: number, batch: Buffer, start: number, end: number): void {
    const { dispatcher } = this.#options;
    const size = end - start;
    switch (type) {
      case RecordType.request:
        need(size >= Layout.request.payload, 'REQUEST is cut');
        return dispatcher.request(session, flags, batch, start, end);
      case RecordType.output:
        need(size >= Layout.output.data, 'OUTPUT is cut');
        return dispatcher.output(session, flags, batch, start, end);
      case RecordType.result:
        need(size >= Layout.result.detail, 'RESULT is cut');
        return dispatcher.result(session, batch, start, end);
      case RecordType.started:
        need(size >= Layout.started.end, 'STARTED is cut');
        return dispatcher.started(session, batch.readUInt32LE(start));
      case RecordType.fires:
        if (session.worker !== null) this.#options.residents.fires(session.worker, batch, start, end);
        return;
      case RecordType.credit:
        need(size >= Layout.credit.end, 'CREDIT is cut');
        return dispatcher.credit(session, batch.readUInt32LE(start), batch.readUInt32LE(start + 4), batch.readUInt32LE(start + 8));
      case RecordType.cancel:
        need(size >= Layout.cancel.end, 'CANCEL is cut');
        return dispatcher.cancel(session, batch.readUInt32LE(start));
      case RecordType.ping:
        need(size <= Layout.ping.end, 'PING is too long');
        session.outbox.copy(RecordType.pong, 0, batch, start, end);
        return;
      case RecordType.pong:
        return;
      default:
        this.#control(session, type, batch, start, end);
    }
  }

  #control(session: Session, type: number, batch: Buffer, start: number, end: number): void {
    if (type === RecordType.bye) return this.close(session, 'good-bye');
    const body = readJson(batch, start, end);
    if (type === RecordType.hello && check.hello.Check(body)) return this.#hello(session, body);
    if (type === RecordType.renew && check.renew.Check(body)) return this.#renew(session, body);
    if (type === RecordType.route && check.route.Check(body)) return this.#route(session, body);
    if (type === RecordType.unroute && check.unroute.Check(body)) return this.#unroute(session, body.route);
    if (type === RecordType.announce && check.announce.Check(body)) return this.#announce(session, body);
    if (type === RecordType.keep && session.worker !== null && check.keep.Check(body))
      return this.#options.residents.keep(session.worker, body);
    throw new MalformedBatchError(`${recordName(type)} has an unexpected body`);
  }

  #hello(session: Session, hello: Hello): void {
    const { directory, authenticator, dispatcher, brokerId, log } = this.#options;
    try {
      session.open(authenticator.authenticate(hello.token));
    } catch (error) {
      const { code, message } = TriggerFsError.from(error);
      this.counters.refused += 1;
      log.debug(`HELLO refused: ${message}`);
      this.#refuse(session, code, message, code === 'TFS_UNAUTHENTICATED');
      return;
    }
    const { principal } = session;
    session.agent = hello.agent;
    session.watch = hello.watch ?? false;
    this.counters.opened += 1;
    if (session.role === 'worker') {
      const older = dispatcher.workers.get(principal.subject);
      if (older !== undefined) this.#supersede(older.session);
      session.worker = new WorkerSession(session);
    }
    const welcome: Welcome = {
      session: principal.sessionId,
      broker: brokerId,
      role: session.role === 'worker' ? 'worker' : 'client',
      team: principal.team,
      identity: principal.identity,
      serverTime: Date.now(),
      brokers: directory.fleet.brokers,
    };
    session.outbox.json(RecordType.welcome, welcome);
    if (session.worker !== null) this.#configure(session.worker);
  }

  #supersede(session: Session): void {
    this.#refuse(session, 'TFS_CONFLICT', `another worker connected as ${session.principal.identity}`, false);
    this.close(session, 'superseded by a newer connection');
  }

  #renew(session: Session, renew: Renew): void {
    try {
      const principal = this.#options.authenticator.authenticate(renew.token);
      const old = session.principal;
      if (principal.subject !== old.subject || principal.teamId !== old.teamId || principal.kind !== old.kind) {
        throw new TriggerFsError('TFS_FORBIDDEN', 'a session cannot change its identity');
      }
      session.open(principal);
    } catch (error) {
      this.#options.log.warn(`RENEW of ${session.principal.identity} refused: ${(error as Error).message}`);
    }
  }

  #route(session: Session, route: Route): void {
    if (route.origin !== undefined && session.principal.kind !== 'system') throw new MalformedBatchError('ROUTE names an origin');
    if (!session.routes.has(route.route) && session.routes.size >= MAX_ROUTES)
      throw new MalformedBatchError(`more than ${MAX_ROUTES} routes`);
    this.#unroute(session, route.route);
    session.routes.set(route.route, new RouteEntry(session.principal, route, session.peer < 0));
  }

  #unroute(session: Session, number: number): void {
    const entry = session.routes.get(number);
    if (entry === undefined) return;
    session.routes.delete(number);
    this.#options.dispatcher.routeClosed(entry);
  }

  #announce(session: Session, announce: Announce): void {
    const { worker } = session;
    if (worker === null) return;
    worker.concurrency = announce.concurrency;
    worker.version = announce.version;
    worker.plugins = new Set(announce.plugins.map((plugin) => plugin.name));
    this.#options.dispatcher.workerAnnounced(worker);
    this.#options.presenceChanged();
  }

  /** Tells a worker which services it is attached to, and how many schedules it keeps. */
  #configure(worker: WorkerSession): void {
    const services: string[] = [];
    const { principal, outbox } = worker.session;
    for (const service of this.#options.directory.team(principal.teamId)?.services.values() ?? []) {
      if (service.algorithm !== 'direct' && service.workerIds.includes(worker.id)) services.push(service.name);
    }
    const schedules = this.#options.directory.team(principal.teamId)?.residents.get(worker.id) ?? 0;
    const config: WorkerConfig = schedules === 0 ? { services: services.sort() } : { services: services.sort(), schedules };
    const text = JSON.stringify(config);
    if (worker.configured === text) return;
    worker.configured = text;
    outbox.json(RecordType.config, config);
  }

  #configChanged(teamId: number, version: number): void {
    for (const session of [...this.#sessions.values()]) {
      if (session.role === 'new' || (teamId !== 0 && session.principal.teamId !== teamId)) continue;
      const refusal = this.#options.authenticator.revoked(session.principal);
      if (refusal !== null) {
        this.#refuse(session, 'TFS_REVOKED', refusal, false);
        this.close(session, refusal);
      } else if (teamId !== 0) {
        if (session.worker !== null) this.#configure(session.worker);
        const changed: Changed = { version };
        if (session.watch) session.outbox.json(RecordType.changed, changed);
      }
    }
  }

  #ping(session: Session): void {
    session.outbox.copy(RecordType.ping, 0, PROBE, 0, PROBE.length);
  }

  #refuse(session: Session, code: ErrorCode, message: string, hello: boolean): void {
    session.outbox.json(RecordType.refused, { code, message, hello });
  }
}

function need(condition: boolean, message: string): asserts condition {
  if (!condition) throw new MalformedBatchError(message);
}
