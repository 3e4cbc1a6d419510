import { setTimeout as sleep } from 'node:timers/promises';
import { Dealer } from 'zeromq';
import { MalformedBatchError, readBatch, readJson } from '../../protocol/batch.ts';
import type { BrokerAddress, Brokers, Hello, Refused, Welcome } from '../../protocol/control.ts';
import type { ChannelKey } from '../../protocol/http/session.ts';
import { LIMITS } from '../../protocol/limits.ts';
import { Layout, RecordType } from '../../protocol/records.ts';
import type { Log } from '../logging.ts';
import { Backoff } from './backoff.ts';
import { Outbox } from './outbox.ts';
import { SocketMonitor } from './socket-monitor.ts';

/** How long a stop waits until what is collected was sent, and the transport after that. */
const STOP_MS = 500;

/** What ZeroMQ's events mean for a session. */
const CONNECTION_ENDS: Readonly<Record<string, string>> = {
  disconnect: 'connection closed by the broker',
  close: 'connection refused',
  'handshake:error:auth': 'the broker does not admit this channel key',
  'handshake:error:protocol': 'handshake failed: wrong broker key?',
  'handshake:error:other': 'handshake failed',
};

/** What an uplink needs for one connection attempt; asked for anew each time, so that keys and tokens may change. */
export interface UplinkCredentials {
  readonly hello: Hello;
  readonly channelKey: ChannelKey;
}

/** What happens on an uplink. Records arrive only between `ready` and `lost`. */
export interface UplinkEvents {
  ready(uplink: Uplink, welcome: Welcome): void;
  /** A record that is not part of the session's own business. The body is valid only during the call. */
  record(uplink: Uplink, type: number, flags: number, batch: Buffer, start: number, end: number): void;
  /** The broker answered a ping. */
  heartbeat?(uplink: Uplink): void;
  /** A batch was read completely: a place for work that is done once for many records. */
  batchEnd?(uplink: Uplink): void;
  /** The session is gone; a new one is tried with back-off unless the uplink was stopped. */
  lost(uplink: Uplink, reason: string): void;
  /** An attempt ended before the session was open; the next one follows with back-off. */
  failed?(uplink: Uplink, reason: string): void;
  /** The broker refused the session; credentials may need renewal. */
  refused(uplink: Uplink, refused: Refused): void;
  /** The broker shuts down: running work goes on here, new work belongs elsewhere. */
  drain(uplink: Uplink): void;
  /** The fleet changed. */
  brokers(brokers: readonly BrokerAddress[]): void;
}

/** Options of an uplink. */
export interface UplinkOptions {
  readonly broker: BrokerAddress;
  readonly credentials: () => Promise<UplinkCredentials>;
  readonly events: UplinkEvents;
  readonly log: Log;
}

/**
 * One outbound connection to one broker, with its session.
 *
 *   stopped ──start──▶ connecting ──WELCOME──▶ ready
 *                        ▲   │                   │ silence, disconnect, REFUSED
 *                        │   └──── failure ──────┤
 *                        └──── back-off ◀── waiting
 *
 * connecting: a new socket exists and HELLO is on its way; nothing else may be sent.
 * ready:      the session is open; `outbox` takes records.
 * waiting:    no socket; the next attempt is due after a pause with jitter.
 * Each attempt uses a new socket, so nothing that was queued for a dead session is ever delivered.
 * Only #connect, #ready, #lose and stop change the state.
 */
export class Uplink {
  readonly broker: BrokerAddress;
  readonly #options: UplinkOptions;
  readonly #backoff = new Backoff(100, 2_000);
  #state: 'stopped' | 'connecting' | 'ready' | 'waiting' = 'stopped';
  #socket: Dealer | null = null;
  #outbox: Outbox | null = null;
  #monitor: SocketMonitor | null = null;
  #draining = false;
  #lastReceived = 0;
  #lastSent = 0;
  #lastTick = 0;
  #timer: NodeJS.Timeout | null = null;

  constructor(options: UplinkOptions) {
    this.broker = options.broker;
    this.#options = options;
  }

  /** The session is open. */
  get ready(): boolean {
    return this.#state === 'ready';
  }

  /** The broker announced its shutdown in this session. */
  get draining(): boolean {
    return this.#draining;
  }

  /** Where records are written. @throws Error when the session is not open */
  get outbox(): Outbox {
    if (this.#state !== 'ready' || this.#outbox === null) throw new Error(`no session with ${this.broker.endpoint}`);
    return this.#outbox;
  }

  /** Begins to connect, and to reconnect for ever. */
  start(): void {
    if (this.#state === 'stopped') void this.#connect();
  }

  /** Sends what is still collected, says good-bye and closes; no event follows. */
  async stop(): Promise<void> {
    const { outbox } = this.#state === 'ready' ? this : { outbox: null };
    this.#state = 'stopped';
    this.#clearTimer();
    if (outbox !== null) {
      outbox.reserve(RecordType.bye, 0, 0);
      await Promise.race([outbox.flushed(), sleep(STOP_MS, undefined, { ref: false })]);
    }
    this.#close(STOP_MS);
  }

  /** Tells the broker about a fresh token, so that the session outlives the old one. */
  renew(token: string): void {
    if (this.#state === 'ready') this.outbox.json(RecordType.renew, { token });
  }

  /** Gives the session up, as if the connection had broken. */
  reset(reason: string): void {
    if (this.#state === 'ready' || this.#state === 'connecting') this.#lose(reason);
  }

  async #connect(): Promise<void> {
    this.#state = 'connecting';
    let socket: Dealer;
    try {
      const { hello, channelKey } = await this.#options.credentials();
      if (this.#state !== 'connecting') return;
      socket = this.#open(channelKey);
      this.#outbox?.json(RecordType.hello, hello);
    } catch (error) {
      if (this.#state === 'connecting') this.#lose((error as Error).message);
      return;
    }
    this.#lastReceived = Date.now();
    this.#lastTick = Date.now();
    this.#timer = setInterval(this.#tick, LIMITS.pingMs);
    await this.#receive(socket);
  }

  #open(channelKey: ChannelKey): Dealer {
    const socket = new Dealer({
      linger: 0,
      immediate: true,
      reconnectInterval: -1,
      connectTimeout: LIMITS.helloMs,
      handshakeInterval: LIMITS.helloMs,
      maxMessageSize: LIMITS.batchBytes,
      sendHighWaterMark: 64,
      receiveHighWaterMark: 64,
      curveServerKey: this.broker.publicKey,
      curvePublicKey: channelKey.publicKey,
      curveSecretKey: channelKey.secretKey,
    });
    this.#socket = socket;
    this.#monitor = new SocketMonitor(socket, (type) => {
      const reason = CONNECTION_ENDS[type];
      if (reason !== undefined && this.#socket === socket) this.#lose(reason);
    });
    this.#outbox = new Outbox(
      (batch) => {
        this.#lastSent = Date.now();
        return socket.send(batch);
      },
      (error) => {
        if (this.#socket === socket) this.#lose(`send failed: ${(error as Error).message}`);
      },
    );
    socket.connect(this.broker.endpoint);
    return socket;
  }

  async #receive(socket: Dealer): Promise<void> {
    try {
      for await (const [batch] of socket) {
        if (this.#socket !== socket) return;
        this.#lastReceived = Date.now();
        if (batch !== undefined) this.#read(batch);
      }
    } catch (error) {
      if (this.#socket === socket) this.#lose(`receive failed: ${(error as Error).message}`);
    }
  }

  #read(batch: Buffer): void {
    try {
      readBatch(batch, this.#visit);
      if (this.#state === 'ready') this.#options.events.batchEnd?.(this);
    } catch (error) {
      if (!(error instanceof MalformedBatchError)) throw error;
      this.#lose(`broker sent ${error.message}`);
    }
  }

  readonly #visit = (type: number, flags: number, batch: Buffer, start: number, end: number): void => {
    // An earlier record of the batch has ended the session.
    if (this.#socket === null) return;
    if (type >= RecordType.route) {
      if (this.#state === 'ready') this.#options.events.record(this, type, flags, batch, start, end);
    } else {
      this.#visitSession(type, flags, batch, start, end);
    }
  };

  #visitSession(type: number, flags: number, batch: Buffer, start: number, end: number): void {
    if (type === RecordType.pong) {
      this.#options.events.heartbeat?.(this);
    } else if (type === RecordType.ping) {
      this.#outbox?.copy(RecordType.pong, 0, batch, start, end);
    } else if (type === RecordType.welcome) {
      this.#ready(readJson(batch, start, end) as unknown as Welcome);
    } else if (type === RecordType.refused) {
      const refused = readJson(batch, start, end) as unknown as Refused;
      this.#options.events.refused(this, refused);
      this.#lose(`${refused.message} (${refused.code})`);
    } else if (type === RecordType.drain) {
      this.#draining = true;
      this.#options.events.drain(this);
    } else if (type === RecordType.brokers) {
      this.#options.events.brokers((readJson(batch, start, end) as unknown as Brokers).brokers);
    } else if (this.#state === 'ready') {
      this.#options.events.record(this, type, flags, batch, start, end);
    }
  }

  #ready(welcome: Welcome): void {
    if (this.#state !== 'connecting') return;
    this.#state = 'ready';
    this.#draining = false;
    this.#backoff.reset();
    this.#options.events.ready(this, welcome);
  }

  readonly #tick = (): void => {
    const now = Date.now();
    // A stall of this process (suspend, long collection) is no silence of the broker.
    if (now - this.#lastTick > 2 * LIMITS.pingMs) this.#lastReceived = now;
    this.#lastTick = now;
    const silence = now - this.#lastReceived;
    if (silence > LIMITS.deadMs) {
      this.#lose(`no answer for ${silence} ms`);
    } else if (this.#state === 'ready' && now - Math.min(this.#lastReceived, this.#lastSent) >= LIMITS.pingMs / 2) {
      // Also when only the broker speaks: it must hear that somebody listens.
      const at = this.outbox.reserve(RecordType.ping, 0, Layout.ping.end);
      this.outbox.buffer.writeDoubleLE(now, at);
    }
  };

  #lose(reason: string): void {
    if (this.#state === 'stopped') return;
    const wasReady = this.#state === 'ready';
    this.#state = 'waiting';
    this.#close(0);
    this.#clearTimer();
    const pause = this.#backoff.next();
    this.#options.log.debug(`session with ${this.broker.endpoint} ended: ${reason}; next attempt in ${Math.round(pause)} ms`);
    this.#timer = setTimeout(() => void this.#connect(), pause);
    if (wasReady) this.#options.events.lost(this, reason);
    else this.#options.events.failed?.(this, reason);
  }

  #close(linger: number): void {
    const socket = this.#socket;
    this.#socket = null;
    this.#outbox?.close();
    this.#outbox = null;
    if (socket === null) return;
    socket.linger = linger;
    socket.close();
    this.#monitor?.release();
    this.#monitor = null;
  }

  #clearTimer(): void {
    if (this.#timer === null) return;
    clearTimeout(this.#timer);
    this.#timer = null;
  }
}
