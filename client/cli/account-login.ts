import { TriggerFsError } from '../../protocol/errors.ts';
import type { AccountSession, LoginResponse } from '../../protocol/http/session.ts';
import { callApi } from '../../runtime/api.ts';

const RENEW_MARGIN_MS = 30_000;

/** Who logs in to their account, without a team. */
export interface AccountMethod {
  readonly api: string;
  readonly identity: string;
  readonly secret: string;
  /** Program and version. */
  readonly agent: string;
}

/** The login of a person who works in no team: enough to make one, to answer invitations and to read mail. */
export class AccountLogin {
  readonly #method: AccountMethod;
  #session: AccountSession | null = null;
  #pending: Promise<AccountSession> | null = null;

  /** `session` was opened otherwise, as by leaving a team. */
  constructor(method: AccountMethod, session: AccountSession | null) {
    this.#method = method;
    this.#session = session;
  }

  /** A login that is good for a while. @throws TriggerFsError TFS_BAD_CREDENTIALS, TFS_RATE_LIMITED, TFS_UNAVAILABLE */
  async current(): Promise<AccountSession> {
    const session = this.#session;
    if (session !== null && session.expiresAt * 1000 - Date.now() > RENEW_MARGIN_MS) return session;
    this.#pending ??= this.#logIn().finally(() => {
      this.#pending = null;
    });
    return this.#pending;
  }

  /** Forgets the token, so that the next use logs in anew. */
  invalidate(): void {
    this.#session = null;
  }

  /** Nothing goes on between two uses. */
  stop(): void {
    this.#session = null;
  }

  async #logIn(): Promise<AccountSession> {
    const { api, identity, secret, agent } = this.#method;
    const answer = await callApi<LoginResponse>(api, { method: 'POST', path: '/v1/login', body: { identity, secret }, agent });
    if (answer.team !== null) throw new TriggerFsError('TFS_INTERNAL', 'a login without a team was answered with one');
    this.#session = answer;
    return answer;
  }
}
