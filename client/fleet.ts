import type { BrokerAddress, Refused } from '../protocol/control.ts';
import type { Log } from '../runtime/logging.ts';
import type { UplinkCredentials } from '../runtime/wire/uplink.ts';
import type { SessionSource } from './call-table.ts';
import { Session, type SessionEvents } from './session.ts';

/** A broker that failed is tried again by another session only after this pause, so that dead brokers cost no spinning. */
const AVOID_MS = 1_000;

/** What the fleet tells its owner. */
export interface FleetEvents {
  /** A session opened, was lost or began to drain: `primary` may be another one now. */
  sessionReady(session: Session): void;
  sessionLost(session: Session): void;
  sessionFailed(reason: string): void;
  refused(refused: Refused): void;
  changed(version: number): void;
  answer: SessionEvents['answer'];
}

/** Options of a fleet. */
export interface FleetOptions {
  /** Sessions to keep open, on different brokers. */
  readonly sessions: number;
  /** Only brokers of this region; all when empty. */
  readonly region: string;
  readonly credentials: () => Promise<UplinkCredentials>;
  readonly log: Log;
  readonly events: FleetEvents;
}

/**
 * The sessions of a client: a few warm ones on brokers chosen at random out of all that exist.
 * The first open one is the primary and stays it while it is good; a broker that fails gives its place to one that is unused.
 */
export class Fleet implements SessionSource, SessionEvents {
  readonly #options: FleetOptions;
  readonly #sessions = new Map<string, Session>();
  readonly #failedAt = new Map<string, number>();
  #brokers: readonly BrokerAddress[] = [];
  #primary: Session | null = null;
  #wanted: number;
  #stopped = false;

  constructor(options: FleetOptions) {
    this.#options = options;
    this.#wanted = options.sessions;
  }

  get primary(): Session | null {
    return this.#primary;
  }

  get sessions(): Iterable<Session> {
    return this.#sessions.values();
  }

  /** Tries one broker more: those chosen so far are slow to answer. */
  widen(): void {
    this.#wanted += 1;
    this.#fill();
  }

  /** Takes the list of brokers that exist now. */
  brokers(brokers: readonly BrokerAddress[]): void {
    if (this.#stopped) return;
    const { region } = this.#options;
    this.#brokers = brokers.filter((broker) => region === '' || broker.region === region);
    const known = new Set(this.#brokers.map(keyOf));
    for (const key of this.#failedAt.keys()) if (!known.has(key)) this.#failedAt.delete(key);
    // A broker that left the list keeps a session that works: it may only be on its way out.
    for (const [key, session] of this.#sessions) if (!known.has(key) && !session.open) this.#drop(key, session);
    this.#fill();
  }

  /** Hands a fresh token to all sessions. */
  renew(token: string): void {
    for (const session of this.#sessions.values()) session.renew(token);
  }

  /** Closes all sessions after sending what they hold. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#primary = null;
    const sessions = [...this.#sessions.values()];
    this.#sessions.clear();
    await Promise.all(sessions.map((session) => session.uplink.stop()));
  }

  ready(session: Session): void {
    this.#choosePrimary();
    this.#options.events.sessionReady(session);
  }

  lost(session: Session, reason: string): void {
    this.#choosePrimary();
    this.#options.events.sessionLost(session);
    this.#replace(session, reason);
  }

  failed(session: Session, reason: string): void {
    this.#replace(session, reason);
    this.#options.events.sessionFailed(reason);
  }

  refused(_session: Session, refused: Refused): void {
    this.#options.events.refused(refused);
  }

  drained(): void {
    this.#choosePrimary();
    this.#fill();
  }

  changed(version: number): void {
    this.#options.events.changed(version);
  }

  answer(session: Session, type: number, flags: number, batch: Buffer, start: number, end: number): void {
    this.#options.events.answer(session, type, flags, batch, start, end);
  }

  #choosePrimary(): void {
    const current = this.#primary;
    if (current?.open === true && !current.draining) return;
    const open = [...this.#sessions.values()].filter((session) => session.open);
    this.#primary = open.find((session) => !session.draining) ?? open[0] ?? null;
  }

  /** Gives the place of a session that failed to a broker that is unused and has not failed just now. */
  #replace(session: Session, reason: string): void {
    if (this.#stopped) return;
    const key = keyOf(session.uplink.broker);
    this.#options.log.debug(`broker ${session.uplink.broker.endpoint}: ${reason}`);
    this.#failedAt.set(key, performance.now());
    if (this.#sessions.get(key) !== session || this.#candidates().length === 0) return;
    this.#drop(key, session);
    this.#fill();
  }

  #drop(key: string, session: Session): void {
    this.#sessions.delete(key);
    void session.uplink.stop();
  }

  #fill(): void {
    const candidates = this.#candidates();
    let wanted = this.#wanted;
    for (const session of this.#sessions.values()) if (!session.draining) wanted -= 1;
    for (; wanted > 0 && candidates.length > 0; wanted -= 1) {
      const [broker] = candidates.splice(Math.floor(Math.random() * candidates.length), 1) as [BrokerAddress];
      const session = new Session(broker, this.#options.credentials, this.#options.log, this);
      this.#sessions.set(keyOf(broker), session);
      session.uplink.start();
    }
  }

  #candidates(): BrokerAddress[] {
    const now = performance.now();
    return this.#brokers.filter((broker) => {
      const key = keyOf(broker);
      return !this.#sessions.has(key) && now - (this.#failedAt.get(key) ?? -Infinity) > AVOID_MS;
    });
  }
}

/** A restarted broker may have another key or port under the same id: then it is another one for us. */
function keyOf(broker: BrokerAddress): string {
  return `${broker.id} ${broker.endpoint} ${broker.publicKey}`;
}
