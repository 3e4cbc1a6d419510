import { TriggerFsError } from '../protocol/errors.ts';
import { callApi } from '../runtime/api.ts';
import type { Credentials } from '../runtime/credentials.ts';
import type { ApiCaller } from './tree-editor.ts';

/** Below the limit of a system call, so that its caller gets the reason instead of ETIMEDOUT. */
const LIMIT_MS = 8_000;

/** Calls of the control-plane with the current login. */
export class ApiSession implements ApiCaller {
  readonly #api: string;
  readonly #credentials: Credentials;
  #role = '';

  constructor(api: string, credentials: Credentials) {
    this.#api = api;
    this.#credentials = credentials;
    credentials.onRenewed((session) => {
      this.#role = session.role;
    });
  }

  /** Whether the identity may fire triggers; true before the first login, when nothing is known. */
  get mayFire(): boolean {
    return this.#role !== 'viewer';
  }

  /** Calls the API; a token that was refused is replaced once. @throws TriggerFsError */
  async call<T>(method: 'GET' | 'POST' | 'PATCH' | 'DELETE', path: string, body?: unknown): Promise<T> {
    try {
      return await this.#call<T>(method, path, body);
    } catch (error) {
      if (!(error instanceof TriggerFsError) || error.definition.status !== 401) throw error;
      this.#credentials.invalidate();
      return this.#call<T>(method, path, body);
    }
  }

  async #call<T>(method: 'GET' | 'POST' | 'PATCH' | 'DELETE', path: string, body: unknown): Promise<T> {
    const { apiToken } = await this.#credentials.current();
    const signal = AbortSignal.timeout(LIMIT_MS);
    try {
      return await callApi<T>(this.#api, { method, path, token: apiToken, signal, ...(body === undefined ? {} : { body }) });
    } catch (error) {
      if (error instanceof TriggerFsError) throw error;
      throw new TriggerFsError('TFS_TIMEOUT', `the control-plane does not answer ${method} ${path} within ${LIMIT_MS} ms`, {
        cause: error,
      });
    }
  }
}
