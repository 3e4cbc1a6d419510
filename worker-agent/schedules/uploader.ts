import { Layout, RecordType } from '../../protocol/records.ts';
import { type Fired, type FireReport, RESIDENT_LIMITS } from '../../protocol/resident.ts';
import type { Log } from '../../runtime/logging.ts';
import { Backoff } from '../../runtime/wire/backoff.ts';
import type { Outbox } from '../../runtime/wire/outbox.ts';
import type { FireEnd, FireRun, JournalFire } from './fire.ts';
import type { Journal } from './journal.ts';

/** A broker that has not confirmed by then is not waited for any longer. */
const CONFIRM_MS = 20_000;

/** A session that reports can go through. */
export interface ReportLink {
  readonly open: boolean;
  readonly outbox: Outbox;
}

interface Upload {
  readonly number: number;
  readonly link: ReportLink;
  readonly fires: readonly { readonly fire: JournalFire; readonly bytes: number }[];
  readonly timer: NodeJS.Timeout;
}

/** What the uploader needs. */
export interface UploaderOptions {
  readonly journal: Journal;
  readonly links: () => Iterable<ReportLink>;
  /** Output of confirmed fires has left the journal. */
  readonly freed: (bytes: number) => void;
  readonly log: Log;
}

/**
 * Reports ended fires to any broker, one FIRES at a time, oldest first, and deletes them once a broker has confirmed that they are
 * written. A report may arrive twice; it is written once.
 */
export class Uploader {
  readonly #options: UploaderOptions;
  readonly #backoff = new Backoff(200, 10_000);
  #lastNumber = 0;
  #upload: Upload | null = null;
  #avoid: ReportLink | null = null;
  #pause: NodeJS.Timeout | null = null;
  #stopped = false;

  constructor(options: UploaderOptions) {
    this.#options = options;
  }

  /** There may be something to report, or somebody to report it to. */
  readonly wake = (): void => {
    if (this.#stopped || this.#upload !== null || this.#pause !== null) return;
    const links = [...this.#options.links()].filter((link) => link.open);
    const link = links.find((candidate) => candidate !== this.#avoid) ?? links[0];
    if (link === undefined) return;
    try {
      const fires = this.#next();
      if (fires.length > 0) this.#send(link, fires);
    } catch (err) {
      this.#options.log.error({ err }, 'the journal of resident schedules cannot be read, trying again');
      this.#again(link, 'the journal cannot be read');
    }
  };

  /** FIRED of a broker. */
  confirmed({ upload: number, retry, refused }: Fired): void {
    const upload = this.#upload;
    if (upload === null || upload.number !== number) return;
    this.#end(upload);
    if (retry !== undefined) return this.#again(upload.link, retry);
    this.#avoid = null;
    this.#backoff.reset();
    for (const { fire, reason } of refused ?? []) {
      const slot = upload.fires[fire]?.fire;
      if (slot !== undefined) this.#options.log.error(`no broker takes the report on ${slotName(slot)}: ${reason}`);
    }
    const { journal } = this.#options;
    journal.transaction(false, () => {
      for (const { fire } of upload.fires) journal.deleteFire(fire.sequence);
    });
    this.#options.freed(upload.fires.reduce((sum, { bytes }) => sum + bytes, 0));
    this.wake();
  }

  /** A session has ended. */
  lost(link: ReportLink): void {
    if (this.#upload?.link === link) {
      this.#end(this.#upload);
      this.wake();
    }
  }

  stop(): void {
    this.#stopped = true;
    if (this.#pause !== null) clearTimeout(this.#pause);
    if (this.#upload !== null) this.#end(this.#upload);
  }

  #next(): { fire: JournalFire; output: Buffer }[] {
    const { journal } = this.#options;
    const batch: { fire: JournalFire; output: Buffer }[] = [];
    let bytes = 0;
    for (const fire of journal.endedFires(RESIDENT_LIMITS.fires)) {
      const output = fire.end === null ? Buffer.alloc(0) : journal.output(fire.sequence);
      bytes += output.length + JSON.stringify(fire.run).length + 1024;
      if (batch.length > 0 && bytes > RESIDENT_LIMITS.targetBytes) break;
      batch.push({ fire, output });
    }
    return batch;
  }

  #send(link: ReportLink, fires: readonly { fire: JournalFire; output: Buffer }[]): void {
    this.#lastNumber = this.#lastNumber === 0xffffffff ? 1 : this.#lastNumber + 1;
    const head = Buffer.from(JSON.stringify({ fires: fires.map(({ fire, output }) => report(fire, output.length)) }));
    const body = Buffer.concat([Buffer.alloc(Layout.fires.head), head, ...fires.map(({ output }) => output)]);
    body.writeUInt32LE(this.#lastNumber, Layout.fires.upload);
    body.writeUInt32LE(head.length, Layout.fires.headBytes);
    link.outbox.copy(RecordType.fires, 0, body, 0, body.length);
    const number = this.#lastNumber;
    const timer = setTimeout(() => this.#expired(number), CONFIRM_MS);
    this.#upload = { number, link, timer, fires: fires.map(({ fire, output }) => ({ fire, bytes: output.length })) };
  }

  #expired(number: number): void {
    const upload = this.#upload;
    if (upload === null || upload.number !== number) return;
    this.#end(upload);
    this.#again(upload.link, `no answer within ${CONFIRM_MS} ms`);
  }

  #again(link: ReportLink, reason: string): void {
    this.#options.log.debug(`fires of resident schedules are not reported yet: ${reason}`);
    this.#avoid = link;
    this.#pause = setTimeout(() => {
      this.#pause = null;
      this.wake();
    }, this.#backoff.next());
  }

  #end(upload: Upload): void {
    clearTimeout(upload.timer);
    this.#upload = null;
  }
}

function slotName({ schedule, due }: JournalFire): string {
  return `slot ${new Date(due).toISOString()} of schedule ${schedule}`;
}

function report(fire: JournalFire, outputBytes: number): FireReport {
  const { schedule, generation, due, through, outcome, reason, at, run, end } = fire;
  const slot = { schedule, generation, due, ...(through === null ? {} : { through }), outcome, reason, at };
  return run === null || end === null ? slot : { ...slot, run: reportRun(run, end, outputBytes) };
}

function reportRun(run: FireRun, end: FireEnd, outputBytes: number): NonNullable<FireReport['run']> {
  const { service, plugin, args, payload, timeoutMs } = run;
  return { service, plugin, args, payload, timeoutMs, ...end, outputBytes };
}
