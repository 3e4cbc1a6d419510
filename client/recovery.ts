import type { Refused } from '../protocol/control.ts';
import { ERRORS, type ErrorCode, TriggerFsError } from '../protocol/errors.ts';
import type { LoginSource } from '../runtime/credentials.ts';
import { Backoff } from '../runtime/wire/backoff.ts';

/** Refusals in a row that another login does not cure. */
const REFUSALS = 3;

/**
 * What a client does while no session opens: it renews the login, because brokers may have moved and keys or tokens may have
 * been replaced. A login or a broker that says no for good is a fault: nothing can be sent until a later look is answered better.
 */
export class Recovery {
  readonly #credentials: LoginSource;
  readonly #onFault: (fault: TriggerFsError | null) => void;
  readonly #pause = new Backoff(100, 30_000);
  #fault: TriggerFsError | null = null;
  #refusals = 0;
  #timer: NodeJS.Timeout | null = null;
  #state: 'idle' | 'looking' | 'stopped' = 'idle';

  constructor(credentials: LoginSource, onFault: (fault: TriggerFsError | null) => void) {
    this.#credentials = credentials;
    this.#onFault = onFault;
  }

  /** Why no session can open at the moment; null when that is not known to be hopeless. */
  get fault(): TriggerFsError | null {
    return this.#fault;
  }

  /** Begins to look, with growing pauses, until `rest`. The brokers found come through the credentials' `onRenewed`. */
  look(): void {
    if (this.#state !== 'idle') return;
    this.#state = 'looking';
    this.#lookLater();
  }

  /** A session opened: all is well. */
  rest(): void {
    if (this.#state === 'looking') this.#state = 'idle';
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    this.#pause.reset();
    this.#refusals = 0;
    this.#setFault(null);
  }

  /** A broker refused the session: the next attempt logs in anew, unless that has not helped before. */
  refused({ code, message }: Refused): void {
    if (!Object.hasOwn(ERRORS, code)) return;
    const error = new TriggerFsError(code as ErrorCode, `the broker refuses the session: ${message}`);
    if (error.definition.retryable) return;
    this.#refusals += 1;
    if (this.#refusals >= REFUSALS) this.#setFault(error);
    else this.#credentials.invalidate();
  }

  /** Ends for good. */
  stop(): void {
    this.#state = 'stopped';
    if (this.#timer !== null) clearTimeout(this.#timer);
  }

  #lookLater(): void {
    if (this.#state === 'looking') this.#timer = setTimeout(() => void this.#lookOnce(), this.#pause.next());
  }

  async #lookOnce(): Promise<void> {
    this.#timer = null;
    try {
      await this.#credentials.refresh();
      // A fresh login deserves one more try.
      this.#refusals = Math.min(this.#refusals, REFUSALS - 1);
      this.#setFault(null);
    } catch (thrown) {
      const error = TriggerFsError.from(thrown);
      if (!error.definition.retryable) this.#setFault(error);
    }
    if (this.#timer === null) this.#lookLater();
  }

  #setFault(fault: TriggerFsError | null): void {
    if (fault === this.#fault) return;
    this.#fault = fault;
    this.#onFault(fault);
  }
}
