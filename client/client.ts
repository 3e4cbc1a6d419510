import { TriggerFsError } from '../protocol/errors.ts';
import type { LoginSource } from '../runtime/credentials.ts';
import type { Log } from '../runtime/logging.ts';
import { AnswerReader } from './answer-reader.ts';
import { CallTable } from './call-table.ts';
import { Fleet } from './fleet.ts';
import { Invocation, type InvokeRequest } from './invocation.ts';
import { Recovery } from './recovery.ts';
import type { ClientRoute, RouteRule } from './route.ts';
import { RouteCache } from './route-cache.ts';

/** How long `start` waits for a first session when nothing else is said. */
const START_MS = 10_000;
/** When no session is open after this time, one broker more is tried. */
const WIDEN_MS = 400;

/** Options of a client. */
export interface ClientOptions {
  /** Owned by the caller, who stops them after the client. */
  readonly credentials: LoginSource;
  readonly log: Log;
  /** Program and version, for the brokers' logs. */
  readonly agent: string;
  /** Only brokers of this region. */
  readonly region?: string;
  /** Ask for `onChanged`. */
  readonly watch?: boolean;
  /** Warm sessions on different brokers; default 2. */
  readonly sessions?: number;
  /** Milliseconds that `start` waits for the first session; default 10000. */
  readonly startMs?: number;
}

/**
 * A connection to the brokers that outlives each of them. Requests go to one broker while another session is kept warm;
 * when the first is lost, what is on its way is sent again on the other, under the same invocation ids.
 */
export class Client {
  readonly #options: ClientOptions;
  readonly #fleet: Fleet;
  readonly #calls: CallTable;
  readonly #routes: RouteCache;
  readonly #connectedListeners = new Set<(connected: boolean) => void>();
  readonly #changedListeners = new Set<(version: number) => void>();
  #state: 'new' | 'started' | 'stopped' = 'new';
  #connected = false;
  #version = -1;
  #lastReason = 'no broker is known';
  readonly #recovery: Recovery;
  readonly #opened = Promise.withResolvers<void>();

  constructor(options: ClientOptions) {
    this.#options = options;
    this.#fleet = new Fleet({
      sessions: options.sessions ?? 2,
      region: options.region ?? '',
      log: options.log,
      credentials: async () => {
        if (this.#recovery.fault !== null) throw this.#recovery.fault;
        const { edgeToken, channelKey } = await options.credentials.current();
        const hello = { token: edgeToken, agent: options.agent };
        return { hello: options.watch === true ? { ...hello, watch: true } : hello, channelKey };
      },
      events: {
        sessionReady: () => this.#sessionsChanged(),
        sessionLost: (session) => {
          this.#calls.sessionLost(session);
          this.#sessionsChanged();
        },
        sessionFailed: (reason) => {
          this.#lastReason = reason;
          this.#recover();
        },
        refused: (refused) => this.#recovery.refused(refused),
        changed: (version) => this.#changed(version),
        answer: (session, type, flags, batch, start, end) => reader.read(session, type, flags, batch, start, end),
      },
    });
    this.#calls = new CallTable(this.#fleet);
    this.#routes = new RouteCache(this.#calls);
    const reader = new AnswerReader(this.#calls);
    this.#recovery = new Recovery(options.credentials, (fault) => {
      this.#calls.fault(fault);
      if (fault !== null) this.#opened.reject(fault);
    });
    this.#opened.promise.catch(() => undefined);
  }

  /** A session is open. */
  get connected(): boolean {
    return this.#connected;
  }

  /** Calls that are not done. */
  get pending(): number {
    return this.#calls.size;
  }

  /**
   * Logs in and resolves when the first session is open.
   * @throws TriggerFsError of the login at once, TFS_NO_BROKER when none opens in time; the client is stopped then
   */
  async start(): Promise<void> {
    if (this.#state !== 'new') throw new TriggerFsError('TFS_INTERNAL', 'a client is started once');
    this.#state = 'started';
    try {
      const { credentials } = this.#options;
      credentials.onRenewed((login) => {
        this.#fleet.renew(login.edgeToken);
        this.#fleet.brokers(login.brokers);
      });
      this.#fleet.brokers((await credentials.current()).brokers);
      await this.#firstSession();
    } catch (error) {
      await this.stop();
      throw error;
    }
  }

  /** Ends the calls that are on their way (`cancelled`) and closes all sessions. */
  async stop(): Promise<void> {
    if (this.#state === 'stopped') return;
    this.#state = 'stopped';
    this.#recovery.stop();
    this.#opened.reject(new TriggerFsError('TFS_CANCELLED', 'the client was stopped'));
    this.#calls.close();
    await this.#fleet.stop();
  }

  /** Calls back when the first session opens and when the last one is lost. */
  onConnected(listener: (connected: boolean) => void): void {
    this.#connectedListeners.add(listener);
  }

  /** Calls back when the team's configuration has another version (needs `watch`). */
  onChanged(listener: (version: number) => void): void {
    this.#changedListeners.add(listener);
  }

  /** Puts a rule into use; for many requests with the same rule. */
  route(rule: RouteRule): ClientRoute {
    return this.#calls.openRoute(rule);
  }

  /** Starts one invocation. @throws TriggerFsError TFS_TOO_LARGE, TFS_BAD_TIMEOUT, TFS_UNAVAILABLE */
  invoke(request: InvokeRequest): Invocation {
    return new Invocation(this.#routes.route(request), request);
  }

  async #firstSession(): Promise<void> {
    const limitMs = this.#options.startMs ?? START_MS;
    const widen = setTimeout(() => this.#fleet.widen(), WIDEN_MS);
    const limit = setTimeout(() => {
      this.#opened.reject(new TriggerFsError('TFS_NO_BROKER', `no session with a broker within ${limitMs} ms: ${this.#lastReason}`));
    }, limitMs);
    try {
      await this.#opened.promise;
    } finally {
      clearTimeout(widen);
      clearTimeout(limit);
    }
  }

  #sessionsChanged(): void {
    const connected = this.#fleet.primary !== null;
    if (connected) {
      this.#recovery.rest();
      this.#opened.resolve();
    }
    this.#calls.flush();
    if (connected === this.#connected) return;
    this.#connected = connected;
    this.#version = -1;
    for (const listener of this.#connectedListeners) listener(connected);
    this.#recover();
  }

  #changed(version: number): void {
    // Each session tells the same news, some of them late.
    if (version <= this.#version) return;
    this.#version = version;
    for (const listener of this.#changedListeners) listener(version);
  }

  #recover(): void {
    if (!this.#connected && this.#state === 'started') this.#recovery.look();
  }
}
