import { TriggerFsError } from '../../protocol/errors.ts';
import type { SessionResponse } from '../../protocol/http/session.ts';
import { type ApiRequest, callApi } from '../../runtime/api.ts';
import type { Config } from '../../runtime/config/index.ts';
import type { Credentials } from '../../runtime/credentials.ts';
import type { Log } from '../../runtime/logging.ts';
import { VERSION } from '../../runtime/version.ts';
import { Client } from '../client.ts';

/** How long a broker is looked for before a request says that there is none. */
const CONNECT_MS = 5_000;

/** The console's way to the control-plane and, once a request is made, to the brokers. Both come back by themselves. */
export class Connection {
  readonly config: Config;
  readonly #credentials: Credentials;
  readonly #log: Log;
  #client: Client | null = null;

  /** `config` names the team and identity that `credentials` log in with. */
  constructor(config: Config, credentials: Credentials, log: Log) {
    this.config = config;
    this.#credentials = credentials;
    this.#log = log;
  }

  /** The current login. @throws TriggerFsError TFS_BAD_CREDENTIALS, TFS_RATE_LIMITED, TFS_UNAVAILABLE */
  login(): Promise<SessionResponse> {
    return this.#credentials.current();
  }

  /** Calls the API; a login that has ended meanwhile is renewed once. @throws TriggerFsError of the API */
  async call<T>(request: Omit<ApiRequest, 'token'>): Promise<T> {
    const { api } = this.config.main;
    const { apiToken } = await this.#credentials.current();
    try {
      return await callApi<T>(api, { ...request, token: apiToken });
    } catch (error) {
      if (!(error instanceof TriggerFsError) || (error.code !== 'TFS_UNAUTHENTICATED' && error.code !== 'TFS_REVOKED')) throw error;
      this.#credentials.invalidate();
      const fresh = await this.#credentials.current();
      return callApi<T>(api, { ...request, token: fresh.apiToken });
    }
  }

  /** The items of a list of the API. */
  async list<T>(path: string, signal?: AbortSignal): Promise<T[]> {
    const { items } = await this.call<{ items: T[] }>({ method: 'GET', path, ...(signal === undefined ? {} : { signal }) });
    return items;
  }

  /** A client with an open session, kept for further requests. @throws TriggerFsError TFS_NO_BROKER and those of the login */
  async client(): Promise<Client> {
    if (this.#client !== null) return this.#client;
    const client = new Client({
      credentials: this.#credentials,
      log: this.#log,
      region: this.config.main.region,
      agent: `triggerfs-cli/${VERSION}`,
      sessions: 1,
      startMs: CONNECT_MS,
    });
    await client.start();
    this.#client = client;
    return client;
  }

  /** Closes everything. */
  async stop(): Promise<void> {
    await this.#client?.stop();
    this.#credentials.stop();
  }
}
