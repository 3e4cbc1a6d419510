import { TriggerFsError } from '../protocol/errors.ts';
import { type ApiRequest, callApi, streamApi } from '../runtime/api.ts';

/** A login that renews itself. */
export interface ApiLogin {
  current(): Promise<{ readonly apiToken: string }>;
  /** Forgets the token, so that the next use logs in anew. */
  invalidate(): void;
}

/** A request without what the caller adds. */
export type CallerRequest = Omit<ApiRequest, 'token' | 'agent'>;

/** Calls of the control-plane's API with a login; one that has ended meanwhile is made anew once. */
export class ApiCaller {
  readonly #api: string;
  readonly #login: ApiLogin;
  readonly #agent: string;

  /** `agent` is the program and its version. */
  constructor(api: string, login: ApiLogin, agent: string) {
    this.#api = api;
    this.#login = login;
    this.#agent = agent;
  }

  /** The JSON answer. @throws TriggerFsError of the API and of the login */
  call<T>(request: CallerRequest): Promise<T> {
    return this.#withToken((token) => callApi<T>(this.#api, { ...request, agent: this.#agent, token }));
  }

  /** The body of the answer as it comes. @throws TriggerFsError of the API and of the login */
  stream(request: CallerRequest): Promise<AsyncIterable<Uint8Array>> {
    return this.#withToken((token) => streamApi(this.#api, { ...request, agent: this.#agent, token }));
  }

  async #withToken<T>(work: (token: string) => Promise<T>): Promise<T> {
    const { apiToken } = await this.#login.current();
    try {
      return await work(apiToken);
    } catch (error) {
      if (!(error instanceof TriggerFsError) || (error.code !== 'TFS_UNAUTHENTICATED' && error.code !== 'TFS_REVOKED')) throw error;
      this.#login.invalidate();
      return work((await this.#login.current()).apiToken);
    }
  }
}
