import { join } from 'node:path';
import type { Announce, Refused } from '../protocol/control.ts';
import { ERRORS, type ErrorCode, TriggerFsError } from '../protocol/errors.ts';
import { type Config, configPath } from '../runtime/config/index.ts';
import { Credentials } from '../runtime/credentials.ts';
import type { Logger } from '../runtime/logging.ts';
import { packageRoot } from '../runtime/package-root.ts';
import { VERSION } from '../runtime/version.ts';
import { SlotTable } from '../runtime/wire/slot-table.ts';
import type { UplinkCredentials } from '../runtime/wire/uplink.ts';
import { Catalogue } from './catalogue/catalogue.ts';
import { FifoPool } from './exec/fifo-pool.ts';
import { createSandbox } from './exec/sandbox.ts';
import { PluginHosts } from './plugin-hosts.ts';
import type { Run } from './runs/run.ts';
import { RunDesk } from './runs/run-desk.ts';
import { Residents } from './schedules/residents.ts';
import { BrokerLink } from './uplinks/broker-link.ts';
import { Fleet } from './uplinks/fleet.ts';

/** Refusals after which trying again makes no sense. */
const FATAL = new Set<string>(['TFS_CONFLICT', 'TFS_REVOKED', 'TFS_BAD_CREDENTIALS']);

/** Who a worker is and what it works with. */
export interface WorkerOptions {
  readonly config: Config;
  readonly team: string;
  readonly identity: string;
  readonly token: string;
  /** Log heartbeats. */
  readonly debug: boolean;
  readonly log: Logger;
  /** Variables of this process that plugins may inherit by the configuration. */
  readonly inherited: Readonly<Record<string, string | undefined>>;
  /** The broker refused this worker for good; it has to end. */
  readonly fatal: (error: TriggerFsError) => void;
  /** Called once, when the first broker knows what the worker offers: from then on it gets work. */
  readonly ready?: () => void;
}

/** A worker: it connects to all brokers, and runs plugins for them. */
export class Worker {
  readonly #options: WorkerOptions;
  readonly #log: Logger;
  readonly #credentials: Credentials;
  readonly #catalogue: Catalogue;
  readonly #pool = new FifoPool();
  readonly #hosts: PluginHosts;
  readonly #desk: RunDesk;
  readonly #residents: Residents;
  readonly #fleet: Fleet;
  #ready = false;

  /** @throws TriggerFsError TFS_CONFIG when the plugins' folder or the user of the plugins cannot be used */
  constructor(options: WorkerOptions) {
    const { config, team, identity, token, log } = options;
    const runs = new SlotTable<Run>();
    this.#options = options;
    this.#log = log;
    this.#catalogue = openCatalogue(config, log);
    const sandbox = createSandbox({ user: config.workers.user, names: config.workers.environment ?? [], inherited: options.inherited });
    this.#hosts = new PluginHosts({ pool: this.#pool, sandbox, worker: identity, runs, log });
    this.#desk = new RunDesk({ concurrency: config.workers.concurrency, catalogue: this.#catalogue, hosts: this.#hosts.find, runs });
    this.#residents = new Residents({
      path: join(configPath(config, config.workers.journal), `${team}.${identity}.db`.toLowerCase()),
      limit: config.workers.journal_limit,
      team,
      desk: this.#desk,
      forget: (plan) => this.#hosts.forget(plan),
      log,
    });
    const { api, region } = config.main;
    const method = { kind: 'worker', team, identity, token, ...(region === '' ? {} : { region }) } as const;
    this.#credentials = new Credentials({ api, method, log });
    this.#fleet = new Fleet({ credentials: this.#credentials, region, link: (broker) => this.#link(broker), log });
  }

  /** Goes on with the schedules that it keeps, logs in and connects. @throws TriggerFsError TFS_BAD_CREDENTIALS, TFS_UNAVAILABLE */
  async start(): Promise<void> {
    this.#catalogue.onChange(() => {
      this.#hosts.update(this.#catalogue);
      this.#fleet.announce();
    });
    this.#catalogue.watch();
    // Standard output and standard error of each run.
    this.#pool.prepare(2 * this.#options.config.workers.concurrency);
    this.#hosts.start();
    this.#residents.start();
    await this.#fleet.start();
  }

  /** Takes no new work, waits for the running work up to the configured grace, and leaves the brokers. */
  async stop(): Promise<void> {
    this.#residents.halt();
    const drained = this.#desk.drain();
    this.#fleet.announce();
    if (this.#desk.size > 0) this.#log.info(`waiting for ${this.#desk.size} runs to end`);
    await Promise.race([drained, new Promise((resolve) => setTimeout(resolve, this.#options.config.workers.grace).unref())]);
    if (this.#desk.size > 0) {
      this.#log.warn(`ending ${this.#desk.size} runs that are still going on`);
      this.#desk.giveUp();
      this.#hosts.kill();
    }
    await drained;
    this.#catalogue.stop();
    this.#credentials.stop();
    await this.#fleet.stop();
    await this.#hosts.shutdown();
    await this.#residents.stop();
    this.#desk.close();
    this.#pool.close();
  }

  /** Kills every plugin at once, for a second signal. */
  kill(): void {
    this.#hosts.kill();
    this.#pool.close();
  }

  #link(broker: ConstructorParameters<typeof BrokerLink>[0]['broker']): BrokerLink {
    return new BrokerLink({
      broker,
      desk: this.#desk,
      residents: this.#residents,
      credentials: () => this.#uplinkCredentials(),
      announcement: (services) => this.#announcement(services),
      forget: (plan) => this.#hosts.forget(plan),
      brokers: (brokers) => this.#fleet.update(brokers),
      refused: (refused) => this.#refused(refused),
      announced: () => this.#announced(),
      log: this.#log,
      heartbeats: this.#options.debug,
    });
  }

  async #uplinkCredentials(): Promise<UplinkCredentials> {
    const { edgeToken, channelKey } = await this.#credentials.current();
    return { hello: { token: edgeToken, agent: `triggerfs-worker/${VERSION}` }, channelKey };
  }

  #announcement(services: readonly string[]): Announce {
    return {
      concurrency: this.#desk.draining ? 0 : this.#options.config.workers.concurrency,
      services: [...services],
      plugins: this.#catalogue.announced(),
      version: VERSION,
    };
  }

  #announced(): void {
    if (!this.#ready) this.#options.ready?.();
    this.#ready = true;
  }

  #refused({ code, message }: Refused): void {
    if (FATAL.has(code)) this.#options.fatal(new TriggerFsError(code as ErrorCode, `the broker refused this worker: ${message}`));
    else if (Object.hasOwn(ERRORS, code) && ERRORS[code as ErrorCode].status === 401) this.#credentials.invalidate();
  }
}

function openCatalogue(config: Config, log: Logger): Catalogue {
  const bundled = join(packageRoot(), 'plugins');
  const { pluginspath, plugins } = config.workers;
  const path = pluginspath === '' ? bundled : configPath(config, pluginspath);
  const fromDist = import.meta.filename.endsWith('.js');
  const sdk = fromDist ? join(packageRoot(), 'dist', 'plugins', 'sdk') : join(bundled, 'sdk');
  const preload = (name: string): string[] => ['--import', join(sdk, fromDist ? `${name}.js` : `${name}.ts`)];
  return new Catalogue({
    path,
    compiled: fromDist && path === bundled ? join(packageRoot(), 'dist', 'plugins') : null,
    nodeArguments: (kind) => [
      '--disable-warning=ExperimentalWarning',
      ...preload('resolve-sdk'),
      ...(kind === 'resident' ? preload('keep-stdout') : []),
    ],
    allowed: plugins,
    log,
  });
}
