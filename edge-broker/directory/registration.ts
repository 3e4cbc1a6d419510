import type { Pool } from 'pg';
import type { Logger } from '../../runtime/logging.ts';

const BEAT_MS = 10_000;

/** How a broker appears in the fleet. */
export interface RegistrationOptions {
  readonly id: string;
  readonly endpoint: string;
  readonly gatewayUrl: string | null;
  readonly publicKey: string;
  readonly region: string;
}

/**
 * The broker's row in the fleet. The beat every 10 s rings no doorbell; when the row is gone
 * (swept after a long outage) the broker registers again and `renewed` is called.
 */
export class Registration {
  readonly #pool: Pool;
  readonly #options: RegistrationOptions;
  readonly #renewed: () => void;
  readonly #log: Logger;
  #state: 'up' | 'draining' | 'down' = 'up';
  #timer: NodeJS.Timeout | null = null;

  constructor(pool: Pool, options: RegistrationOptions, renewed: () => void, log: Logger) {
    this.#pool = pool;
    this.#options = options;
    this.#renewed = renewed;
    this.#log = log;
  }

  /** Registers and begins to beat. The database may be down: it is tried again with each beat. */
  async start(): Promise<void> {
    this.#timer = setInterval(() => void this.#beat(), BEAT_MS);
    await this.#tryTo('register', () => this.#register());
  }

  /** Publishes that the broker takes no new sessions. */
  async drain(): Promise<void> {
    this.#state = 'draining';
    await this.#tryTo('announce the drain', () => this.#setState());
  }

  /** Takes the broker out of the fleet. */
  async stop(): Promise<void> {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#state = 'down';
    await this.#tryTo('leave the fleet', () => this.#setState());
  }

  async #register(): Promise<void> {
    const { id, endpoint, gatewayUrl, publicKey, region } = this.#options;
    // Whoever had this endpoint before is gone, or it could not have been bound.
    await this.#pool.query('delete from triggerfs.brokers where endpoint = $1 and id <> $2', [endpoint, id]);
    await this.#pool.query(
      `insert into triggerfs.brokers (id, endpoint, gateway_url, public_key, region, state) values ($1, $2, $3, $4, $5, $6)
       on conflict (id) do update set endpoint = excluded.endpoint, gateway_url = excluded.gateway_url, public_key = excluded.public_key,
         region = excluded.region, state = excluded.state, started_at = now(), beat_at = now()`,
      [id, endpoint, gatewayUrl, publicKey, region, this.#state],
    );
    this.#renewed();
  }

  async #beat(): Promise<void> {
    await this.#tryTo('beat', async () => {
      const { rowCount } = await this.#pool.query('update triggerfs.brokers set beat_at = now() where id = $1 and state <> $2', [
        this.#options.id,
        'down',
      ]);
      if (rowCount === 0) await this.#register();
    });
  }

  async #setState(): Promise<void> {
    await this.#pool.query('update triggerfs.brokers set state = $2 where id = $1', [this.#options.id, this.#state]);
  }

  async #tryTo(what: string, action: () => Promise<void>): Promise<void> {
    try {
      await action();
    } catch (err) {
      this.#log.warn({ err }, `cannot ${what}, trying again`);
    }
  }
}
