import { TriggerFsError } from '../../protocol/errors.ts';
import type { LoginResponse } from '../../protocol/http/session.ts';
import type { Config } from '../../runtime/config/index.ts';
import type { Credentials } from '../../runtime/credentials.ts';
import type { Environment } from '../../runtime/environment.ts';
import type { Log } from '../../runtime/logging.ts';
import { VERSION } from '../../runtime/version.ts';
import { ApiCaller, type CallerRequest } from '../api-caller.ts';
import { Client } from '../client.ts';
import { logInWithCache } from '../program/login.ts';
import { AccountLogin } from './account-login.ts';

/** How long a broker is looked for before a request says that there is none. */
const CONNECT_MS = 5_000;
const PROGRAM = 'triggerfs-cli';
const AGENT = `${PROGRAM}/${VERSION}`;
const SILENT: Log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };

/** What the console knows of its login. `team` is null for a person who works in none. */
export interface ConsoleLogin {
  readonly apiToken: string;
  readonly team: string | null;
  readonly identity: string;
  readonly role: string;
  /** Letters that were not read; absent where nobody counts them. */
  readonly unread?: number;
}

/** The console's way to the control-plane and, once a request is made, to the brokers. Both come back by themselves. */
export class Connection {
  /** Its [main] says who is logged in where. */
  readonly config: Config;
  /** The API with this login. */
  readonly caller: ApiCaller;
  readonly #credentials: Credentials | AccountLogin;
  readonly #env: Environment;
  #client: Client | null = null;

  private constructor(config: Config, env: Environment, opened?: LoginResponse) {
    const { main } = config;
    this.config = config;
    this.#env = env;
    if (main.team === '') this.#credentials = new AccountLogin({ ...main, agent: AGENT }, opened?.team === null ? opened : null);
    else {
      const caller = { env, log: SILENT, program: PROGRAM };
      const known = opened === undefined || opened.team === null ? caller : { ...caller, opened };
      this.#credentials = logInWithCache(config, main, known);
    }
    this.caller = new ApiCaller(main.api, this.#credentials, AGENT);
  }

  /** Logs in as [main] says, without a team where it names none. @throws TriggerFsError of the login */
  static async open(config: Config, env: Environment): Promise<Connection> {
    const connection = new Connection(config, env);
    try {
      await connection.login();
      return connection;
    } catch (error) {
      await connection.stop();
      throw error;
    }
  }

  /** The same person in another team, or in none (empty), in a session of its own. @throws TriggerFsError TFS_UNKNOWN_TEAM */
  async inTeam(team: string): Promise<Connection> {
    const body = { team: team === '' ? null : team };
    return this.withSession(await this.call<LoginResponse>({ method: 'POST', path: '/v1/switch', body }));
  }

  /** The same person in a session that the API has opened. */
  withSession(opened: LoginResponse): Connection {
    const main = { ...this.config.main, team: opened.team ?? '' };
    return new Connection({ ...this.config, main }, this.#env, opened);
  }

  /** The same person with another password. @throws TriggerFsError of the login */
  withSecret(secret: string): Promise<Connection> {
    // The configuration holds another one by now, and kept logins were ended.
    const client = { ...this.config['triggerfs-client'], cache: false };
    return Connection.open({ ...this.config, main: { ...this.config.main, secret }, 'triggerfs-client': client }, this.#env);
  }

  /** The current login. @throws TriggerFsError TFS_BAD_CREDENTIALS, TFS_RATE_LIMITED, TFS_UNAVAILABLE */
  login(): Promise<ConsoleLogin> {
    return this.#credentials.current();
  }

  /** The team that is worked in. @throws TriggerFsError TFS_USAGE when there is none */
  async team(): Promise<string> {
    const { team } = await this.login();
    if (team !== null) return team;
    throw new TriggerFsError('TFS_USAGE', 'you work in no team: make one with set teams name NAME, then request team switch NAME');
  }

  /** Calls the API; a login that has ended meanwhile is renewed once. @throws TriggerFsError of the API */
  call<T>(request: CallerRequest): Promise<T> {
    return this.caller.call<T>(request);
  }

  /** The items of a list of the API. */
  async list<T>(path: string, signal?: AbortSignal): Promise<T[]> {
    const { items } = await this.call<{ items: T[] }>({ method: 'GET', path, ...(signal === undefined ? {} : { signal }) });
    return items;
  }

  /** A client with an open session, kept for further requests. @throws TriggerFsError TFS_NO_BROKER and those of the login */
  async client(): Promise<Client> {
    if (this.#client !== null) return this.#client;
    await this.team();
    const client = new Client({
      credentials: this.#credentials as Credentials,
      log: SILENT,
      region: this.config.main.region,
      agent: AGENT,
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
