import { readJson } from '../../protocol/batch.ts';
import type { Announce, BrokerAddress, Plan, Refused, Welcome, WorkerConfig } from '../../protocol/control.ts';
import { Layout, RecordFlag, RecordType } from '../../protocol/records.ts';
import { Verdict } from '../../protocol/verdicts.ts';
import type { Log } from '../../runtime/logging.ts';
import type { Outbox } from '../../runtime/wire/outbox.ts';
import { Uplink, type UplinkCredentials, type UplinkEvents } from '../../runtime/wire/uplink.ts';
import { BoundPlan } from '../catalogue/bound-plan.ts';
import type { Run, RunLink } from '../runs/run.ts';
import type { RunDesk } from '../runs/run-desk.ts';
import type { Residents } from '../schedules/residents.ts';
import type { ReportLink } from '../schedules/uploader.ts';

/** What a link to a broker needs. */
export interface BrokerLinkOptions {
  readonly broker: BrokerAddress;
  readonly desk: RunDesk;
  readonly residents: Residents;
  readonly credentials: () => Promise<UplinkCredentials>;
  /** What the worker offers now. */
  readonly announcement: (services: readonly string[]) => Announce;
  readonly forget: (plan: BoundPlan) => void;
  readonly brokers: (brokers: readonly BrokerAddress[]) => void;
  readonly refused: (refused: Refused) => void;
  /** Called each time the broker has been told what the worker offers. */
  readonly announced: () => void;
  readonly log: Log;
  /** Log heartbeats. */
  readonly heartbeats: boolean;
}

/**
 * The worker's session with one broker: its plans, and the runs that are reported to it.
 * Plans and numbers of runs belong to one session; both end with it. The runs themselves go on.
 */
export class BrokerLink implements UplinkEvents, RunLink, ReportLink {
  readonly uplink: Uplink;
  readonly #options: BrokerLinkOptions;
  readonly #plans = new Map<number, BoundPlan>();
  readonly #runs = new Map<number, Run>();
  #outbox: Outbox | null = null;
  #services: readonly string[] | null = null;
  #announced: readonly string[] = [];
  #now = 0;
  /** That the broker cannot be reached was logged; each further attempt is a detail. */
  #complained = false;

  constructor(options: BrokerLinkOptions) {
    this.#options = options;
    this.uplink = new Uplink({ broker: options.broker, credentials: options.credentials, events: this, log: options.log });
  }

  /** Runs that are reported to this broker. */
  get runs(): number {
    return this.#runs.size;
  }

  get outbox(): Outbox {
    return this.#outbox as Outbox;
  }

  /** Whether there is a session. */
  get open(): boolean {
    return this.#outbox !== null;
  }

  /** Begins to connect. */
  start(): void {
    this.#options.log.info(`connecting to broker at ${this.uplink.broker.endpoint}...`);
    this.uplink.start();
  }

  /** Tells the broker again what the worker offers. */
  announce(): void {
    if (this.#outbox === null || this.#services === null) return;
    this.#outbox.json(RecordType.announce, this.#options.announcement(this.#services));
  }

  closed(number: number): void {
    this.#runs.delete(number);
  }

  ready(uplink: Uplink, _welcome: Welcome): void {
    this.#outbox = uplink.outbox;
    this.#now = 0;
    this.#complained = false;
    this.#options.log.info('received BROKER_ACCEPTED from broker for worker socket - Connected');
  }

  record(_uplink: Uplink, type: number, flags: number, batch: Buffer, start: number, end: number): void {
    if (type === RecordType.task) this.#task(batch, start, end);
    else if (type === RecordType.credit) this.#credit(batch, start);
    else if (type === RecordType.cancel) this.#cancel(flags, batch, start);
    else if (type === RecordType.plan) this.#plan(readJson(batch, start, end) as unknown as Plan);
    else if (type === RecordType.unplan) this.#unplan(readJson(batch, start, end).plan as number);
    else if (type === RecordType.config) this.#configure(readJson(batch, start, end) as unknown as WorkerConfig);
    else this.#options.residents.record(this, type, batch, start, end);
  }

  batchEnd(): void {
    this.#now = 0;
  }

  heartbeat(): void {
    if (this.#options.heartbeats) this.#options.log.info('received HEARTBEAT for worker socket from broker.');
  }

  lost(_uplink: Uplink, reason: string): void {
    const now = performance.now();
    this.#outbox = null;
    this.#services = null;
    const runs = [...this.#runs.values()];
    this.#runs.clear();
    for (const run of runs) if (run.link === this) this.#options.desk.detach(run, now);
    for (const plan of this.#plans.values()) this.#options.forget(plan);
    this.#plans.clear();
    this.#options.residents.lost(this);
    this.#options.log.warn(`lost the broker at ${this.uplink.broker.endpoint}: ${reason}`);
  }

  failed(_uplink: Uplink, reason: string): void {
    if (!this.#complained) this.#options.log.info(`cannot connect to broker at ${this.uplink.broker.endpoint}: ${reason}; trying again`);
    this.#complained = true;
  }

  refused(_uplink: Uplink, refused: Refused): void {
    this.#options.refused(refused);
  }

  drain(): void {
    this.#options.log.info(`the broker at ${this.uplink.broker.endpoint} is shutting down`);
  }

  brokers(brokers: readonly BrokerAddress[]): void {
    this.#options.brokers(brokers);
  }

  #task(batch: Buffer, start: number, end: number): void {
    const { desk } = this.#options;
    // One reading of the clock serves all tasks of a batch.
    if (this.#now === 0) this.#now = performance.now();
    const number = batch.readUInt32LE(start + Layout.task.run);
    const plan = this.#plans.get(batch.readUInt32LE(start + Layout.task.plan));
    if (plan === undefined) {
      desk.refuse(
        this,
        number,
        batch.readUInt32LE(start + Layout.task.attempt),
        Verdict.failed,
        'TFS_PROTOCOL',
        'the broker sent a task without its plan',
      );
      return;
    }
    const run = desk.take(this, plan, batch, start, end, this.#now);
    if (run !== null) this.#runs.set(number, run);
  }

  #credit(batch: Buffer, start: number): void {
    this.#runs.get(batch.readUInt32LE(start + Layout.credit.call))?.grant(batch.readUInt32LE(start + Layout.credit.bytes));
  }

  #cancel(flags: number, batch: Buffer, start: number): void {
    const run = this.#runs.get(batch.readUInt32LE(start + Layout.cancel.call));
    if (run === undefined) return;
    this.#options.desk.cancel(run, (flags & RecordFlag.timeout) === 0 ? Verdict.cancelled : Verdict.timeout);
  }

  #plan(plan: Plan): void {
    this.#unplan(plan.plan);
    this.#plans.set(plan.plan, new BoundPlan(plan));
  }

  #unplan(number: number): void {
    const plan = this.#plans.get(number);
    if (plan === undefined) return;
    this.#plans.delete(number);
    this.#options.forget(plan);
  }

  #configure({ services, schedules }: WorkerConfig): void {
    for (const service of services) {
      if (!this.#announced.includes(service)) this.#options.log.info(`Found service ${service}. Announcing it to broker.`);
    }
    this.#announced = services;
    this.#services = services;
    this.announce();
    this.#options.announced();
    this.#options.residents.configured(this, schedules ?? 0);
  }
}
