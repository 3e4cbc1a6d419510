import { TriggerFsError } from '../../protocol/errors.ts';

const SIGNALS = { SIGHUP: 129, SIGINT: 130, SIGTERM: 143 } as const;
/** As if killed by SIGPIPE: what a program ends with whose reader has enough. */
const BROKEN_PIPE = 141;

/**
 * What ends the program before its request does. The first signal, or a reader of the output that goes away,
 * cancels the request; a second signal ends the program at once.
 */
export class Interruption {
  readonly #controller = new AbortController();
  #exitCode: number | null = null;
  #failure: TriggerFsError | null = null;
  readonly #broken = Promise.withResolvers<never>();

  constructor() {
    this.#broken.promise.catch(() => {});
    for (const [name, code] of Object.entries(SIGNALS)) {
      process.on(name, () => {
        if (this.#exitCode !== null) process.exit(code);
        this.#begin(code);
      });
    }
  }

  /** Aborts with the first interruption. */
  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Standard output cannot be written any more: quietly when the reader went away, an error otherwise (a full disk). */
  outputBroken(error: NodeJS.ErrnoException): void {
    if (error.code !== 'EPIPE') {
      this.#failure = new TriggerFsError('TFS_OUTPUT', `cannot write the output: ${error.message}`, { cause: error });
    }
    this.#begin(BROKEN_PIPE);
    this.#broken.reject(error);
  }

  /** Rejects when standard output cannot be written any more: there is nobody left to wait for. */
  get broken(): Promise<never> {
    return this.#broken.promise;
  }

  /** Settles as `work`, or rejects with the first interruption. */
  race<T>(work: Promise<T>): Promise<T> {
    const { promise, reject } = Promise.withResolvers<never>();
    const abort = (): void => reject(new TriggerFsError('TFS_CANCELLED', 'interrupted'));
    if (this.signal.aborted) abort();
    this.signal.addEventListener('abort', abort, { once: true });
    return Promise.race([work, promise]).finally(() => this.signal.removeEventListener('abort', abort));
  }

  /** The exit code of a program whose request ended with `outcome` (null: it was not made). @throws TriggerFsError when the output failed */
  exitCode(outcome: number | null): number {
    if (this.#failure !== null) throw this.#failure;
    const interrupted = outcome === null || outcome === SIGNALS.SIGINT;
    return this.#exitCode !== null && interrupted ? this.#exitCode : (outcome ?? 0);
  }

  #begin(exitCode: number): void {
    if (this.#exitCode !== null) return;
    this.#exitCode = exitCode;
    this.#controller.abort();
  }
}
