import { TriggerFsError } from '../protocol/errors.ts';
import type { SessionResponse } from '../protocol/http/session.ts';
import { callApi } from './api.ts';
import type { Log } from './logging.ts';
import { Backoff } from './wire/backoff.ts';

const RENEW_MARGIN_MS = 30_000;

/** How a process proves who it is. */
export type LoginMethod =
  | { readonly kind: 'user'; readonly team: string; readonly identity: string; readonly secret: string }
  | { readonly kind: 'worker'; readonly team: string; readonly identity: string; readonly token: string; readonly region?: string };

/** What a connection to the brokers needs of a login. */
export type EdgeLogin = Pick<SessionResponse, 'edgeToken' | 'channelKey' | 'brokers'>;

/** Where a client gets its logins from. */
export interface LoginSource {
  /** A login that is good for at least half a minute. @throws TriggerFsError when there is none */
  current(): Promise<EdgeLogin>;
  /** A fresh one. @throws TriggerFsError when there is none */
  refresh(): Promise<EdgeLogin>;
  /** Forgets what a broker has refused. */
  invalidate(): void;
  /** Calls back with each new login. */
  onRenewed(listener: (login: EdgeLogin) => void): void;
}

/** Logs in once; `agent` as for `callApi`. @throws TriggerFsError TFS_BAD_CREDENTIALS, TFS_RATE_LIMITED, TFS_UNAVAILABLE */
export function logIn(api: string, method: LoginMethod, agent?: string): Promise<SessionResponse> {
  const { kind, ...body } = method;
  const path = kind === 'user' ? '/v1/login' : '/v1/workers/login';
  return callApi(api, { method: 'POST', path, body, ...(agent === undefined ? {} : { agent }) });
}

/**
 * Keeps a login fresh: renews the tokens at half of their life and logs in again where they have ended.
 * With the control-plane down, `current` goes on answering what it has until that ends.
 */
export class Credentials implements LoginSource {
  readonly #api: string;
  readonly #method: LoginMethod | null;
  readonly #agent: string | undefined;
  readonly #log: Log;
  readonly #listeners = new Set<(session: SessionResponse) => void>();
  readonly #backoff = new Backoff(500, 30_000);
  #session: SessionResponse | null;
  #pending: Promise<SessionResponse> | null = null;
  #timer: NodeJS.Timeout | null = null;
  #stopped = false;

  /**
   * `session` is an earlier login that may still be good; without `method` it cannot be replaced once ended. `agent` is the
   * program and its version.
   */
  constructor(options: { api: string; method: LoginMethod | null; session?: SessionResponse; agent?: string; log: Log }) {
    this.#api = options.api;
    this.#method = options.method;
    this.#agent = options.agent;
    this.#log = options.log;
    this.#session = options.session ?? null;
    if (this.#session !== null) this.#schedule();
  }

  /** A login that is good for at least half a minute. @throws TriggerFsError as `logIn` */
  async current(): Promise<SessionResponse> {
    if (this.#session !== null && lifeMs(this.#session) > RENEW_MARGIN_MS) return this.#session;
    return this.refresh();
  }

  /** Renews or logs in now; concurrent callers share one request. */
  refresh(): Promise<SessionResponse> {
    this.#pending ??= this.#request().finally(() => {
      this.#pending = null;
    });
    return this.#pending;
  }

  /** Forgets the tokens (a broker refused them), so that the next use logs in anew. */
  invalidate(): void {
    if (this.#method !== null) this.#session = null;
  }

  /** Calls back with each new login. */
  onRenewed(listener: (session: SessionResponse) => void): void {
    this.#listeners.add(listener);
  }

  /** Stops renewing. */
  stop(): void {
    this.#stopped = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
  }

  async #request(): Promise<SessionResponse> {
    const session = await this.#renewOrLogIn();
    this.#session = session;
    this.#backoff.reset();
    this.#schedule();
    for (const listener of this.#listeners) listener(session);
    return session;
  }

  async #renewOrLogIn(): Promise<SessionResponse> {
    const session = this.#session;
    if (session !== null && lifeMs(session) > 0) {
      try {
        return await callApi<SessionResponse>(this.#api, {
          method: 'POST',
          path: '/v1/renew',
          token: session.apiToken,
          body: this.#renewBody(),
          ...(this.#agent === undefined ? {} : { agent: this.#agent }),
        });
      } catch (error) {
        const refused = error instanceof TriggerFsError && error.definition.status === 401;
        if (!refused || this.#method === null) throw error;
      }
    }
    if (this.#method === null) throw new TriggerFsError('TFS_UNAUTHENTICATED', 'the login has ended');
    return logIn(this.#api, this.#method, this.#agent);
  }

  /** A worker keeps to its region when it renews, too. */
  #renewBody(): { region?: string } {
    const method = this.#method;
    return method?.kind === 'worker' && method.region !== undefined ? { region: method.region } : {};
  }

  #schedule(): void {
    if (this.#stopped || this.#session === null) return;
    const retry = lifeMs(this.#session) < RENEW_MARGIN_MS * 2;
    const delay = retry ? this.#backoff.next() : lifeMs(this.#session) / 2;
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#renewInBackground(), delay);
    this.#timer.unref();
  }

  async #renewInBackground(): Promise<void> {
    try {
      await this.refresh();
    } catch (err) {
      this.#log.warn({ err }, 'cannot renew the login, trying again');
      this.#retryLater();
    }
  }

  #retryLater(): void {
    if (this.#stopped) return;
    this.#timer = setTimeout(() => void this.#renewInBackground(), this.#backoff.next());
    this.#timer.unref();
  }
}

function lifeMs(session: SessionResponse): number {
  return session.expiresAt * 1000 - Date.now();
}
