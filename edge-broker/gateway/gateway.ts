import type { AddressInfo } from 'node:net';
import type { FastifyInstance } from 'fastify';
import type { Pool } from 'pg';
import { TriggerFsError } from '../../protocol/errors.ts';
import { Acceptor } from '../../runtime/acceptance/acceptor.ts';
import type { Logger } from '../../runtime/logging.ts';
import type { TeamKeys } from '../../runtime/sealing/index.ts';
import type { Directory } from '../directory/directory.ts';
import { Resolver } from '../dispatch/resolver.ts';
import type { BrokerMetrics } from '../metrics.ts';
import type { Authenticator } from '../session/authenticator.ts';
import type { Sessions } from '../session/sessions.ts';
import { AnonymousCallers } from './anonymous.ts';
import { buildApp } from './app.ts';
import { Bearers } from './bearers.ts';
import { Budget } from './budget.ts';
import { Callers } from './callers.ts';
import { DatabaseProbe } from './database-probe.ts';
import { Durable } from './durable.ts';
import { Exposure } from './exposure.ts';
import { GatewayCounters } from './gateway-counters.ts';
import { KeptKeys } from './kept/kept-keys.ts';
import { KeptOutput } from './kept/kept-output.ts';
import { KeptReader } from './kept/kept-reader.ts';
import { KeptStore } from './kept/kept-store.ts';
import { KeptWatch } from './kept/kept-watch.ts';
import { RateLimits } from './rate-limits.ts';
import { Deliveries } from './webhooks/deliveries.ts';
import { HookSecrets } from './webhooks/hook-secrets.ts';

const BODIES_BYTES = 128 * 1024 * 1024;
const STRANGERS_BYTES = 32 * 1024 * 1024;
const OUTPUTS_BYTES = 64 * 1024 * 1024;
const SWEEP_MS = 5_000;
const REFRESH_INTERVAL_MS = 1_000;
/** How long answers may take to reach their readers once the gateway stops. */
const FLUSH_MS = 1_000;

/** Options of the gateway. */
export interface GatewayOptions {
  readonly host: string;
  readonly port: number;
  /** Host name that the broker is known by; empty text when it has no other than that of its port. */
  readonly advertisedHost: string;
  readonly brokerId: string;
  readonly directory: Directory;
  readonly authenticator: Authenticator;
  readonly sessions: Sessions;
  readonly pool: Pool;
  /** Open and seal what is kept of requests, and the secrets of webhooks. */
  readonly teamKeys: TeamKeys;
  /** Reverse proxies with commas between, whose word about clients is believed; empty: nobody's. */
  readonly proxies: string;
  readonly metrics: BrokerMetrics | null;
  readonly log: Logger;
}

/**
 * The HTTP door of a broker. Each caller has a session inside the broker, with the rights of a client that connects by ZeroMQ.
 *
 *   new ──start──▶ serving ──drain──▶ draining ──stop──▶ stopped
 *
 * draining: /healthz answers 503 and new invocations are refused by the dispatcher, while open ones end in peace.
 */
export class Gateway {
  readonly #options: GatewayOptions;
  readonly #app: FastifyInstance;
  readonly #callers: Callers;
  readonly #watch: KeptWatch;
  /** What it has counted. */
  readonly counters: GatewayCounters = new GatewayCounters();
  #draining = false;
  #timer: NodeJS.Timeout | null = null;
  #refreshedAt = Number.NEGATIVE_INFINITY;

  constructor(options: GatewayOptions) {
    const { brokerId, directory, authenticator, sessions, pool, teamKeys, proxies, metrics, log } = options;
    this.#options = options;
    const bearers = new Bearers(directory, authenticator);
    this.#callers = new Callers(bearers, sessions, log);
    const resolver = new Resolver(directory);
    directory.onChange((teamId) => {
      this.#callers.recheck(teamId);
      resolver.refresh(teamId);
    });
    const store = new KeptStore(pool, teamKeys);
    this.#watch = new KeptWatch(store, log);
    const output = new KeptOutput(pool, teamKeys);
    const sources = { watch: this.#watch, output, reader: new KeptReader(store, output) };
    const keys = new KeptKeys(teamKeys);
    const acceptor = new Acceptor({ pool, keys: teamKeys });
    this.#app = buildApp({
      brokerId,
      bearers,
      anonymous: new AnonymousCallers(directory, new RateLimits()),
      callers: this.#callers,
      exposure: new Exposure(directory),
      durable: new Durable({ resolver, acceptor, store, sources, keys }),
      directory,
      store,
      sources,
      keys,
      secrets: new HookSecrets(teamKeys),
      deliveries: new Deliveries(pool),
      bodies: new Budget(BODIES_BYTES),
      strangers: new Budget(STRANGERS_BYTES),
      outputs: new Budget(OUTPUTS_BYTES),
      database: new DatabaseProbe(pool),
      metrics,
      counters: this.counters,
      draining: () => this.#draining,
      refresh: () => this.#refresh(),
      proxies,
      log,
    });
    this.#app.addHook('preClose', async () => {
      this.#callers.close(new TriggerFsError('TFS_DRAINING', 'this broker is shutting down'));
      this.#watch.stop();
    });
  }

  /** Sessions of callers. */
  get sessions(): number {
    return this.#callers.size;
  }

  /** Invocations on their way. */
  get calls(): number {
    return this.#callers.calls;
  }

  /** Begins to listen and returns the address for others. @throws TriggerFsError TFS_CONFIG when it is taken */
  async start(): Promise<string> {
    const { host, port, advertisedHost } = this.#options;
    try {
      await this.#app.listen({ host, port });
    } catch (cause) {
      throw new TriggerFsError('TFS_CONFIG', `the gateway cannot listen on ${host}:${port}: ${(cause as Error).message}`, { cause });
    }
    this.#timer = setInterval(() => this.#callers.sweep(Date.now()), SWEEP_MS);
    return urlOf(this.#app.server.address() as AddressInfo, advertisedHost);
  }

  /** Tells load balancers to send requests elsewhere. */
  drain(): void {
    this.#draining = true;
  }

  /** Ends what is left and closes. A reader that does not take its answer is cut off after a second. */
  async stop(): Promise<void> {
    if (this.#timer !== null) clearInterval(this.#timer);
    const cut = setTimeout(() => this.#app.server.closeAllConnections(), FLUSH_MS);
    await this.#app.close();
    clearTimeout(cut);
  }

  async #refresh(): Promise<boolean> {
    if (performance.now() - this.#refreshedAt < REFRESH_INTERVAL_MS) return false;
    this.#refreshedAt = performance.now();
    return this.#options.directory.sync().then(
      () => true,
      () => false,
    );
  }
}

/** A gateway that listens everywhere is known by the broker's advertised host, or as this machine's own. */
function urlOf({ address, family, port }: AddressInfo, advertisedHost: string): string {
  if (address === '0.0.0.0' || address === '::') return `http://${advertisedHost === '' ? '127.0.0.1' : advertisedHost}:${port}`;
  return `http://${family === 'IPv6' ? `[${address}]` : address}:${port}`;
}
