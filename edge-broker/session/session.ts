import { Layout, RecordType } from '../../protocol/records.ts';
import type { Invocation } from '../dispatch/invocation.ts';
import type { RouteEntry } from '../dispatch/route-entry.ts';
import type { WorkerSession } from '../dispatch/worker-session.ts';
import type { PeerOutbox } from './peer-outbox.ts';
import type { SessionRole } from './permissions.ts';

/** Who a session speaks for; only ever taken from a verified token. */
export interface Principal {
  readonly kind: 'user' | 'worker' | 'token' | 'system' | 'anonymous' | 'hook';
  /** Id of the user or worker; 0 for the system (the control-plane that runs what was accepted for the team) and for who needs no token. */
  readonly subject: number;
  readonly teamId: number;
  readonly team: string;
  readonly identity: string;
  readonly epoch: number;
  /** Id of the login. */
  readonly sessionId: string;
  /** Scopes of an API token; null for full logins. */
  readonly scopes: readonly string[] | null;
  /** Seconds since 1970 at which the right to this session ends. */
  readonly expiresAt: number;
  /** Key of the one service that an anonymous caller or a webhook reaches; null for everyone else. */
  readonly onlyService: string | null;
}

/**
 * One peer of the broker's socket.
 *
 *   new ──HELLO with a good token──▶ client | worker ──BYE, silence, revocation──▶ (removed)
 *
 * new: may say HELLO and PING only, within 16 KiB and 5 s.
 * client: owns routes and calls. worker: owns a WorkerSession.
 * The role changes once, in `open`; a closed session is forgotten and its peer has to say HELLO again.
 */
export class Session {
  readonly peer: number;
  readonly outbox: PeerOutbox;
  readonly createdAt: number;
  lastReceived: number;
  /** When the broker last sent a ping because of its silence. */
  askedAt = 0;
  /** Bytes received while new. */
  helloBytes = 0;
  /** Was told, while new, that it has to say HELLO. */
  told = false;
  role: SessionRole = 'new';
  agent = '';
  /** Wants CHANGED records. */
  watch = false;
  worker: WorkerSession | null = null;
  readonly routes = new Map<number, RouteEntry>();
  readonly calls = new Map<number, Invocation>();
  readonly #named = new Set<number>();
  #principal: Principal | null = null;

  constructor(peer: number, outbox: PeerOutbox, now: number) {
    this.peer = peer;
    this.outbox = outbox;
    this.createdAt = now;
    this.lastReceived = now;
  }

  /** Who this session speaks for. @throws Error before HELLO */
  get principal(): Principal {
    if (this.#principal === null) throw new Error('the session has no principal yet');
    return this.#principal;
  }

  /** Opens the session for a principal, or renews it for the same one. */
  open(principal: Principal): void {
    this.#principal = principal;
    this.role = principal.kind === 'worker' ? 'worker' : 'client';
  }

  /** Tells the client a worker's name before its number is used for the first time. */
  nameWorker(id: number, identity: string): void {
    if (this.#named.has(id)) return;
    this.#named.add(id);
    const name = Buffer.from(identity);
    const at = this.outbox.reserve(RecordType.worker, 0, Layout.worker.name + name.length);
    const buffer = this.outbox.buffer;
    buffer.writeUInt32LE(id, at + Layout.worker.worker);
    name.copy(buffer, at + Layout.worker.name);
  }
}
