import { Client, type ClientRoute, type RouteRule } from '../client/index.ts';
import type { Credentials } from '../runtime/credentials.ts';
import type { Log } from '../runtime/logging.ts';
import { VERSION } from '../runtime/version.ts';
import { Backoff } from '../runtime/wire/backoff.ts';

/** Longest time a timer can wait: the client looks for a broker as long as it lives. */
const FOR_EVER_MS = 2_147_483_647;

/** Options of a connection. */
export interface ConnectionOptions {
  readonly credentials: Credentials;
  readonly region: string;
  readonly log: Log;
  /** A session with a broker opened, or the last one was lost. */
  readonly onConnected: (connected: boolean) => void;
  /** The team's configuration changed. */
  readonly onChanged: () => void;
}

/**
 * The way to the brokers, which may be away for any time: it logs in and connects as soon as that is possible and
 * begins anew whatever ends it. Routes belong to one client; a new client (`epoch` rises) needs new ones.
 */
export class Connection {
  readonly #options: ConnectionOptions;
  readonly #backoff = new Backoff(250, 15_000);
  #client: Client | null = null;
  #epoch = 0;
  #retry: NodeJS.Timeout | null = null;
  #stopped = false;

  constructor(options: ConnectionOptions) {
    this.#options = options;
  }

  /** A broker can be reached now. */
  get connected(): boolean {
    return this.#client?.connected ?? false;
  }

  /** Rises when earlier routes are void. */
  get epoch(): number {
    return this.#epoch;
  }

  /** Begins to connect; returns at once. */
  start(): void {
    void this.#connect();
  }

  /** Opens a route; only while `connected`. */
  route(rule: RouteRule): ClientRoute {
    if (this.#client === null) throw new Error('not connected');
    return this.#client.route(rule);
  }

  /** Ends all sessions; calls on their way end as cancelled. */
  async stop(): Promise<void> {
    this.#stopped = true;
    if (this.#retry !== null) clearTimeout(this.#retry);
    await this.#client?.stop();
  }

  async #connect(): Promise<void> {
    const { credentials, region, log, onConnected, onChanged } = this.#options;
    try {
      await credentials.current();
      if (this.#stopped) return;
      const client = new Client({ credentials, region, log, agent: `triggerfs/${VERSION}`, watch: true, startMs: FOR_EVER_MS });
      client.onConnected((connected) => {
        if (connected) this.#backoff.reset();
        onConnected(connected);
      });
      client.onChanged(() => onChanged());
      this.#client = client;
      this.#epoch += 1;
      await client.start();
    } catch (err) {
      if (this.#stopped) return;
      log.warn({ err }, 'cannot connect to a broker, trying again; what is written is kept in the spool');
      this.#retry = setTimeout(() => void this.#connect(), this.#backoff.next());
    }
  }
}
