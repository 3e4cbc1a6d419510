import { type Context, Router } from 'zeromq';
import { TriggerFsError } from '../../protocol/errors.ts';
import { LIMITS } from '../../protocol/limits.ts';
import type { Logger } from '../../runtime/logging.ts';
import { SocketMonitor } from '../../runtime/wire/socket-monitor.ts';
import { ZAP_DOMAIN } from './admission.ts';
import { PeerOutbox } from './peer-outbox.ts';

const RETRY_MS = 5;

/** A CURVE key pair, Z85. */
export interface CurveKeys {
  readonly publicKey: string;
  readonly secretKey: string;
}

/** What the transport tells its owner. */
export interface TransportEvents {
  /** A batch of a peer. The buffer belongs to the receiver. */
  batch(peer: number, routingId: Buffer, batch: Buffer): void;
  /** A peer's connection is gone; what was meant for it is lost. */
  unreachable(peer: number): void;
  /** Some connection broke; ZeroMQ does not say whose. */
  disconnected(): void;
}

/**
 * Sole owner of the broker's ROUTER socket: one receive loop, one send loop.
 * Sends never wait: a peer whose queue is full keeps its batches in its own outbox and is tried again 5 ms later,
 * a peer that is gone is reported, and the others are served meanwhile.
 */
export class Transport {
  readonly #socket: Router;
  readonly #events: TransportEvents;
  readonly #log: Logger;
  #ready: PeerOutbox[] = [];
  #blocked: PeerOutbox[] = [];
  #scheduled = false;
  #sending = false;
  #retryTimer: NodeJS.Timeout | null = null;
  #closed = false;
  #monitor: SocketMonitor | null = null;
  #receiving: Promise<void> = Promise.resolve();

  constructor(context: Context, keys: CurveKeys, events: TransportEvents, log: Logger) {
    this.#events = events;
    this.#log = log;
    this.#socket = new Router({
      context,
      mandatory: true,
      sendTimeout: 0,
      linger: 0,
      backlog: 1024,
      handshakeInterval: 2_000,
      maxMessageSize: LIMITS.batchBytes,
      sendHighWaterMark: 64,
      receiveHighWaterMark: 256,
      ipv6: true,
      curveServer: true,
      curveSecretKey: keys.secretKey,
      zapDomain: ZAP_DOMAIN,
      zapEnforceDomain: true,
    });
  }

  /** Binds and begins to receive; returns the bound endpoint (port 0 is resolved). @throws TriggerFsError TFS_CONFIG when the address is taken */
  async start(host: string, port: number): Promise<string> {
    const address = `tcp://${host.includes(':') && !host.startsWith('[') ? `[${host}]` : host}:${port === 0 ? '*' : port}`;
    try {
      await this.#socket.bind(address);
    } catch (cause) {
      throw new TriggerFsError('TFS_CONFIG', `cannot listen on ${address}: ${(cause as Error).message}`, { cause });
    }
    this.#receiving = this.#receive();
    this.#monitor = new SocketMonitor(this.#socket, (type) => {
      if (type === 'disconnect') this.#events.disconnected();
    });
    // A socket for both families reports IPv4 addresses in their IPv6 form; peers and people know the plain one better.
    return this.#socket.lastEndpoint?.replace(/\[::ffff:([\d.]+)\]/, '$1') ?? address;
  }

  /** An outbox for a peer. */
  outbox(routingId: Buffer): PeerOutbox {
    return new PeerOutbox(routingId, this.#wake);
  }

  /** Bytes that wait for peers which do not read fast enough. */
  get blockedBytes(): number {
    let bytes = 0;
    for (const outbox of this.#blocked) bytes += outbox.pendingBytes;
    return bytes;
  }

  /** Waits until everything was handed to ZeroMQ or `limitMs` passed. */
  async flush(limitMs: number): Promise<void> {
    const limit = Date.now() + limitMs;
    while ((this.#ready.length > 0 || this.#blocked.length > 0 || this.#sending || this.#scheduled) && Date.now() < limit) {
      await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    }
  }

  /** Closes the socket; what ZeroMQ already took is still sent for up to half a second. */
  async close(): Promise<void> {
    this.#closed = true;
    if (this.#retryTimer !== null) clearTimeout(this.#retryTimer);
    this.#socket.linger = 500;
    this.#socket.close();
    this.#monitor?.release();
    await this.#receiving;
  }

  async #receive(): Promise<void> {
    for await (const [routingId, batch, ...rest] of this.#socket) {
      if (this.#closed) return;
      if (routingId === undefined || batch === undefined || rest.length > 0 || routingId.length !== 5) continue;
      try {
        this.#events.batch(routingId.readUInt32BE(1), routingId, batch);
      } catch (err) {
        this.#log.error({ err }, 'a batch was not handled');
      }
    }
  }

  readonly #wake = (outbox: PeerOutbox): void => {
    this.#ready.push(outbox);
    this.#schedule();
  };

  #schedule(): void {
    if (this.#scheduled || this.#sending || this.#closed) return;
    this.#scheduled = true;
    setImmediate(this.#drain);
  }

  readonly #drain = async (): Promise<void> => {
    this.#scheduled = false;
    this.#sending = true;
    while (this.#ready.length > 0 && !this.#closed) {
      const round = this.#ready;
      this.#ready = [];
      for (const outbox of round) await this.#sendAll(outbox);
    }
    this.#sending = false;
  };

  async #sendAll(outbox: PeerOutbox): Promise<void> {
    outbox.queued = false;
    for (let batch = outbox.take(); batch !== null; batch = outbox.take()) {
      try {
        await this.#socket.send([outbox.routingId, batch]);
      } catch (error) {
        if (this.#closed) return;
        this.#sendFailed(outbox, batch, error as NodeJS.ErrnoException);
        return;
      }
    }
  }

  #sendFailed(outbox: PeerOutbox, batch: Buffer, error: NodeJS.ErrnoException): void {
    if (error.code === 'EAGAIN') {
      // A peer that does not read any more and has no session either keeps nothing here.
      if (outbox.retired) return outbox.clear();
      outbox.putBack(batch);
      outbox.queued = true;
      this.#blocked.push(outbox);
      this.#retryTimer ??= setTimeout(this.#retry, RETRY_MS);
      return;
    }
    if (error.code !== 'EHOSTUNREACH') this.#log.warn({ err: error }, 'send failed');
    this.#events.unreachable(outbox.routingId.readUInt32BE(1));
  }

  readonly #retry = (): void => {
    this.#retryTimer = null;
    this.#ready.push(...this.#blocked);
    this.#blocked = [];
    this.#schedule();
  };
}
