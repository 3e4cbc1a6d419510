import pg from 'pg';
import type { Logger } from '../../runtime/logging.ts';
import { withRole } from '../../runtime/postgres/pool.ts';
import { Backoff } from '../../runtime/wire/backoff.ts';

const CHANNEL = 'triggerfs_config';
const HEARTBEAT_MS = 5_000;
const HEARTBEAT_LIMIT_MS = 2_000;
const REREAD_MS = 15_000;

/** Options of the doorbell. */
export interface DoorbellOptions {
  readonly url: string;
  /** Called after each (re)connect, on each notification, and every 15 s. Its failure is logged, and it is called again. */
  readonly ring: () => Promise<void>;
  readonly log: Logger;
}

/**
 * Listens for configuration changes on a connection of its own.
 * A notification is only a hint to re-read versions: they are lost while disconnected, and a half-open connection
 * is silent for ever, so a heartbeat proves every 5 s that this session still listens.
 */
export class Doorbell {
  readonly #options: DoorbellOptions;
  readonly #backoff = new Backoff(200, 5_000);
  #client: pg.Client | null = null;
  #timers: NodeJS.Timeout[] = [];
  #retry: NodeJS.Timeout | null = null;
  #stopped = false;

  constructor(options: DoorbellOptions) {
    this.#options = options;
  }

  /** Begins to listen; connection problems are retried for ever. */
  start(): void {
    void this.#connect();
    this.#timers.push(
      setInterval(() => void this.#ring(), REREAD_MS),
      setInterval(() => void this.#heartbeat(), HEARTBEAT_MS),
    );
  }

  /** Stops listening. */
  async stop(): Promise<void> {
    this.#stopped = true;
    for (const timer of this.#timers) clearInterval(timer);
    if (this.#retry !== null) clearTimeout(this.#retry);
    await this.#drop();
  }

  async #connect(): Promise<void> {
    this.#retry = null;
    const client = new pg.Client({
      connectionString: withRole(this.#options.url, 'triggerfs_edge'),
      application_name: 'triggerfs-broker-doorbell',
      keepAlive: true,
      connectionTimeoutMillis: HEARTBEAT_LIMIT_MS,
      query_timeout: HEARTBEAT_LIMIT_MS,
    });
    this.#client = client;
    const lost = (): void => {
      if (this.#client === client) void this.#reconnect();
    };
    client.on('error', lost);
    client.on('end', lost);
    client.on('notification', () => void this.#ring());
    try {
      await client.connect();
      await client.query(`listen ${CHANNEL}`);
      this.#backoff.reset();
      await this.#ring();
    } catch {
      lost();
    }
  }

  async #reconnect(): Promise<void> {
    await this.#drop();
    if (this.#stopped || this.#retry !== null) return;
    this.#retry = setTimeout(() => void this.#connect(), this.#backoff.next());
  }

  async #heartbeat(): Promise<void> {
    const client = this.#client;
    if (client === null || this.#retry !== null) return;
    try {
      const { rows } = await client.query<{ channel: string }>('select pg_listening_channels() as channel');
      if (!rows.some((row) => row.channel === CHANNEL)) throw new Error('the session does not listen any more');
    } catch (err) {
      if (this.#client !== client) return;
      this.#options.log.warn({ err }, 'connection for configuration changes lost, reconnecting');
      await this.#reconnect();
    }
  }

  async #ring(): Promise<void> {
    try {
      await this.#options.ring();
    } catch (err) {
      this.#options.log.warn({ err }, 'cannot read the configuration, using what is known');
    }
  }

  async #drop(): Promise<void> {
    const client = this.#client;
    this.#client = null;
    if (client === null) return;
    client.removeAllListeners('notification');
    // A broken connection may never answer the end message.
    await Promise.race([client.end().catch(() => undefined), new Promise((resolve) => setTimeout(resolve, 500).unref())]);
  }
}
