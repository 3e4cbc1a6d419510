import { Client } from '../../client/client.ts';
import type { ClientRoute, RouteRule } from '../../client/route.ts';
import type { Logger } from '../../runtime/logging.ts';
import { VERSION } from '../../runtime/version.ts';
import type { Database } from '../database.ts';
import type { KeyRing } from '../keys/key-ring.ts';
import { SystemLogin, type Team } from './system-login.ts';

/** Rules that are kept announced; the one that was not used for longest gives way. */
const MAX_ROUTES = 256;
const START_MS = 5_000;

/** The control-plane's connection to the brokers for one team. */
export class TeamSession {
  /** Items that use it at the moment, and when the last one did, in milliseconds of performance.now(). */
  users = 0;
  usedAt = performance.now();
  readonly #login: SystemLogin;
  readonly #client: Client;
  readonly #routes = new Map<string, ClientRoute>();
  readonly #started: Promise<void>;

  constructor(team: Team, options: { database: Database; keys: KeyRing; log: Logger }) {
    this.#login = new SystemLogin(team, options.database, options.keys);
    const { log } = options;
    this.#client = new Client({ credentials: this.#login, log, agent: `triggerfs-queue/${VERSION}`, startMs: START_MS });
    this.#started = this.#client.start();
    this.#started.catch(() => undefined);
  }

  /** Resolves when the first broker has answered. @throws TriggerFsError TFS_NO_BROKER, or why none can: the session is of no use then */
  get started(): Promise<void> {
    return this.#started;
  }

  /** The route of a rule. Calls on one that gave way go on. */
  route(rule: RouteRule): ClientRoute {
    const key = JSON.stringify(rule);
    const route = this.#routes.get(key) ?? this.#client.route(rule);
    this.#routes.delete(key);
    this.#routes.set(key, route);
    if (this.#routes.size > MAX_ROUTES) {
      const [oldest, unused] = this.#routes.entries().next().value as [string, ClientRoute];
      this.#routes.delete(oldest);
      unused.close();
    }
    return route;
  }

  /** Disconnects. What the brokers were given goes on. */
  async stop(): Promise<void> {
    this.#login.stop();
    await this.#client.stop();
  }
}
