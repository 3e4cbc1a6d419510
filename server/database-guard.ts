import type { EmbeddedPostgres } from '../runtime/postgres/embedded.ts';

const INTERVAL_MS = 2_000;

/** Starts the embedded PostgreSQL again when it was killed; the other parts find it at the same address. */
export class DatabaseGuard {
  readonly #postgres: EmbeddedPostgres;
  readonly #warn: (line: string) => void;
  #timer: NodeJS.Timeout | null = null;
  #looking: Promise<void> | null = null;
  #failing = false;

  /** `warn` takes lines for the terminal. */
  constructor(postgres: EmbeddedPostgres, warn: (line: string) => void) {
    this.#postgres = postgres;
    this.#warn = warn;
  }

  /** Begins to look. */
  start(): void {
    this.#timer = setInterval(() => {
      this.#looking ??= this.#look().finally(() => {
        this.#looking = null;
      });
    }, INTERVAL_MS);
  }

  /** Stops looking, after a start that is under way. */
  async stop(): Promise<void> {
    if (this.#timer !== null) clearInterval(this.#timer);
    await this.#looking;
  }

  async #look(): Promise<void> {
    try {
      if (await this.#postgres.revive()) this.#warn('PostgreSQL was killed and has been started again');
      this.#failing = false;
    } catch (error) {
      if (!this.#failing) this.#warn(`PostgreSQL was killed and does not start: ${(error as Error).message}`);
      this.#failing = true;
    }
  }
}
