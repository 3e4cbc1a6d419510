import type { BrokerAddress } from '../../protocol/control.ts';
import type { Credentials } from '../../runtime/credentials.ts';
import type { Log } from '../../runtime/logging.ts';
import { Backoff } from '../../runtime/wire/backoff.ts';
import type { BrokerLink } from './broker-link.ts';

const TICK_MS = 1_000;
/** Without any broker for this long, the control-plane is asked for the present ones. */
const LONELY_MS = 2_000;

/** What the fleet needs. */
export interface FleetOptions {
  readonly credentials: Credentials;
  /** Only brokers of this region are used; empty means all. */
  readonly region: string;
  readonly link: (broker: BrokerAddress) => BrokerLink;
  readonly log: Log;
}

/**
 * The links to all brokers of the region. Brokers that appear are joined; those that vanish are left,
 * as soon as no run is reported to them any more.
 */
export class Fleet {
  readonly #options: FleetOptions;
  readonly #links = new Map<string, BrokerLink>();
  readonly #leaving = new Set<BrokerLink>();
  readonly #backoff = new Backoff(1_000, 30_000);
  #timer: NodeJS.Timeout | null = null;
  #lonelySince = 0;
  #askAfter = 0;
  #stopped = false;

  constructor(options: FleetOptions) {
    this.#options = options;
  }

  /** Logs in and joins the brokers. @throws TriggerFsError as `logIn` */
  async start(): Promise<void> {
    const { credentials } = this.#options;
    credentials.onRenewed((session) => {
      for (const link of this.#links.values()) link.uplink.renew(session.edgeToken);
      this.update(session.brokers);
    });
    this.update((await credentials.current()).brokers);
    this.#lonelySince = performance.now();
    this.#timer = setInterval(() => this.#tick(), TICK_MS);
  }

  /** The fleet is now this. */
  update(brokers: readonly BrokerAddress[]): void {
    if (this.#stopped) return;
    const { region } = this.#options;
    const wanted = new Map(brokers.filter((broker) => region === '' || broker.region === region).map((broker) => [keyOf(broker), broker]));
    for (const [key, link] of this.#links) if (!wanted.has(key)) this.#leave(key, link);
    for (const [key, broker] of wanted) if (!this.#links.has(key)) this.#join(key, broker);
  }

  /** Tells all brokers again what the worker offers. */
  announce(): void {
    for (const link of [...this.#links.values(), ...this.#leaving]) link.announce();
  }

  /** Says good-bye to all brokers. */
  async stop(): Promise<void> {
    this.#stopped = true;
    if (this.#timer !== null) clearInterval(this.#timer);
    await Promise.all([...this.#links.values(), ...this.#leaving].map((link) => link.uplink.stop()));
  }

  #join(key: string, broker: BrokerAddress): void {
    const link = this.#options.link(broker);
    this.#links.set(key, link);
    link.start();
  }

  #leave(key: string, link: BrokerLink): void {
    this.#links.delete(key);
    this.#leaving.add(link);
    this.#sweepLeaving();
  }

  #sweepLeaving(): void {
    for (const link of this.#leaving) {
      if (link.uplink.ready && link.runs > 0) continue;
      this.#leaving.delete(link);
      void link.uplink.stop();
    }
  }

  #tick(): void {
    this.#sweepLeaving();
    const now = performance.now();
    if ([...this.#links.values()].some((link) => link.uplink.ready)) {
      this.#lonelySince = now;
      this.#backoff.reset();
      return;
    }
    if (now - this.#lonelySince < LONELY_MS || now < this.#askAfter) return;
    this.#askAfter = now + this.#backoff.next();
    this.#options.credentials.refresh().catch((error: Error) => this.#options.log.warn(`no broker, and ${error.message}`));
  }
}

function keyOf(broker: BrokerAddress): string {
  return `${broker.id} ${broker.endpoint} ${broker.publicKey}`;
}
