import type { Pool } from 'pg';

const FRESH_MS = 2_000;
const LIMIT_MS = 1_000;

/** Whether the database answers: asked at most every two seconds, however many want to know. */
export class DatabaseProbe {
  readonly #pool: Pool;
  #asked = Number.NEGATIVE_INFINITY;
  #answer: Promise<boolean> = Promise.resolve(false);

  constructor(pool: Pool) {
    this.#pool = pool;
  }

  /** Resolves within a second; never rejects. */
  reachable(): Promise<boolean> {
    if (performance.now() - this.#asked > FRESH_MS) {
      this.#asked = performance.now();
      this.#answer = this.#ask();
    }
    return this.#answer;
  }

  async #ask(): Promise<boolean> {
    const limit = Promise.withResolvers<boolean>();
    const timer = setTimeout(() => limit.resolve(false), LIMIT_MS);
    const asked = this.#pool.query('select 1').then(
      () => true,
      () => false,
    );
    const reachable = await Promise.race([asked, limit.promise]);
    clearTimeout(timer);
    return reachable;
  }
}
