import { readJson } from '../../protocol/batch.ts';
import { RecordType } from '../../protocol/records.ts';
import {
  type Fired,
  type HeldSchedule,
  type Keep,
  RESIDENT_LIMITS,
  type ResidentSchedule,
  type ResidentSchedules,
} from '../../protocol/resident.ts';
import type { Log } from '../../runtime/logging.ts';
import type { BoundPlan } from '../catalogue/bound-plan.ts';
import type { RunDesk } from '../runs/run-desk.ts';
import { Book } from './book.ts';
import { Clockwork } from './clockwork.ts';
import { FireRecorder } from './fire-recorder.ts';
import { FireRunner } from './fire-runner.ts';
import { Fires } from './fires.ts';
import { journalExists, type OpenJournal, openJournal } from './open-journal.ts';
import { type ReportLink, Uploader } from './uploader.ts';

/** How often a journal that cannot be opened is tried again, and a full one. */
const RETRY_MS = 1_000;

/** What the residents need. */
export interface ResidentsOptions {
  /** File of the journal. */
  readonly path: string;
  /** Bytes of output that it may hold. */
  readonly limit: number;
  readonly team: string;
  readonly desk: RunDesk;
  readonly forget: (plan: BoundPlan) => void;
  readonly log: Log;
}

interface Session {
  keeps: number;
  /** Releases that a KEEP of this session named, with its number. */
  readonly released: { readonly keep: number; readonly held: readonly HeldSchedule[] }[];
  definitions: ResidentSchedule[];
}

interface Open {
  readonly file: OpenJournal;
  readonly book: Book;
  readonly fires: Fires;
  readonly runner: FireRunner;
  readonly recorder: FireRecorder;
  readonly uploader: Uploader;
  readonly clock: Clockwork;
}

/**
 * The schedules that this worker keeps, whether or not there is a broker. The journal is opened when the first broker says that there
 * are some, or at the start when it is there already: then the schedules go on at once, before any login.
 */
export class Residents {
  readonly #options: ResidentsOptions;
  readonly #sessions = new Map<ReportLink, Session>();
  #open: Open | null = null;
  #retry: NodeJS.Timeout | null = null;
  /** Something that a broker said was not written: it is to be asked for again. */
  #missed = false;
  #complained = '';
  #stopped = false;

  constructor(options: ResidentsOptions) {
    this.#options = options;
  }

  /** Goes on with what the journal knows. Calling it again changes nothing. */
  start(): void {
    if (journalExists(this.#options.path)) this.#want();
  }

  /** A broker has sent CONFIG, with so many schedules for this worker. */
  configured(link: ReportLink, schedules: number): void {
    if (!this.#sessions.has(link)) this.#sessions.set(link, { keeps: 0, released: [], definitions: [] });
    if (schedules > 0) this.#want();
    const session = this.#sessions.get(link) as Session;
    this.#guard(() => {
      if (this.#open !== null && session.keeps === 0) this.#keep(link, session);
    });
    this.#open?.clock.wake();
    this.#open?.uploader.wake();
  }

  /** SCHEDULE, SCHEDULES or FIRED of a broker. */
  record(link: ReportLink, type: number, batch: Buffer, start: number, end: number): void {
    const session = this.#sessions.get(link);
    const open = this.#open;
    if (session === undefined || open === null) return;
    const body: unknown = readJson(batch, start, end);
    this.#guard(() => {
      if (type === RecordType.schedule) session.definitions.push(body as ResidentSchedule);
      else if (type === RecordType.fired) open.uploader.confirmed(body as Fired);
      else if (type === RecordType.schedules) this.#list(link, session, open, body as ResidentSchedules);
    });
  }

  /** A session has ended. */
  lost(link: ReportLink): void {
    this.#sessions.delete(link);
    this.#open?.uploader.lost(link);
  }

  /** Fires nothing more. What runs goes on. */
  halt(): void {
    this.#stopped = true;
    if (this.#retry !== null) clearTimeout(this.#retry);
    this.#open?.clock.stop();
    this.#open?.runner.stop();
  }

  /** Writes the rest, after the last run has ended, and closes the journal. What is not reported is reported after the next start. */
  async stop(): Promise<void> {
    this.halt();
    const open = this.#open;
    this.#open = null;
    if (open === null) return;
    await open.runner.flushed();
    open.recorder.stop();
    open.uploader.stop();
    open.file.close();
  }

  #want(): void {
    if (this.#open !== null || this.#stopped || this.#retry !== null) return;
    try {
      this.#open = this.#begin();
    } catch (error) {
      const { message } = error as Error;
      if (message !== this.#complained) this.#options.log.error(`resident schedules are not kept: ${message}; trying again`);
      this.#complained = message;
      this.#again();
      return;
    }
    this.#complained = '';
    this.#guard(() => this.#keepAll());
    this.#check();
  }

  #begin(): Open {
    const { path, limit, team, desk, forget, log } = this.#options;
    const file = openJournal(path, limit, log);
    try {
      const { journal } = file;
      const book = new Book(journal, log);
      const reported = (): void => uploader.wake();
      const recorder = new FireRecorder({ journal, limit, ended: reported, log });
      const uploader = new Uploader({ journal, links: () => this.#sessions.keys(), freed: (bytes) => recorder.freed(bytes), log });
      const fires = new Fires({ journal, book, recorder, reported, log });
      const runner = new FireRunner({ desk, team, forget, events: fires });
      const clock = new Clockwork(() => this.#check());
      for (const keeper of book.keepers.values()) clock.add(keeper);
      if (book.keepers.size > 0) log.info(`going on with ${book.keepers.size} resident schedules of the journal`);
      fires.start(runner);
      return { file, book, fires, runner, recorder, uploader, clock };
    } catch (error) {
      file.close();
      throw error;
    }
  }

  #check(): void {
    const open = this.#open;
    if (open === null || this.#stopped) return;
    if (open.fires.check(Date.now())) open.clock.arm(open.book.keepers.values());
    else this.#again();
  }

  #again(): void {
    if (this.#stopped) return;
    this.#retry ??= setTimeout(() => {
      this.#retry = null;
      if (this.#open === null) return this.#want();
      if (this.#missed) this.#guard(() => this.#keepAll());
      this.#open.uploader.wake();
      this.#check();
    }, RETRY_MS);
  }

  /** What a broker says is asked for again, and a report is sent again, when the journal can be used. */
  #guard(work: () => void): void {
    try {
      work();
    } catch (err) {
      if (!this.#missed) this.#options.log.error({ err }, 'the journal of resident schedules cannot be used, trying again');
      this.#missed = true;
      this.#again();
    }
  }

  #keepAll(): void {
    for (const [link, session] of this.#sessions) this.#keep(link, session);
    this.#missed = false;
  }

  #keep(link: ReportLink, session: Session): void {
    const { file, book } = this.#open as Open;
    if (!link.open) return;
    session.keeps += 1;
    const released = file.journal.releases().slice(0, RESIDENT_LIMITS.schedules);
    session.released.push({ keep: session.keeps, held: released });
    const body: Keep = { keep: session.keeps, journal: file.id, schedules: book.held(), released };
    link.outbox.json(RecordType.keep, body);
  }

  #list(link: ReportLink, session: Session, open: Open, list: ResidentSchedules): void {
    while (session.released[0] !== undefined && session.released[0].keep <= list.keep) {
      for (const held of session.released.shift()?.held ?? []) open.file.journal.forgetRelease(held);
    }
    const definitions = session.definitions;
    session.definitions = [];
    const changes = open.book.take(list, definitions);
    if (changes === null) return;
    const { log } = this.#options;
    for (const keeper of changes.put) open.clock.add(keeper);
    for (const schedule of changes.released) open.clock.remove(schedule);
    if (changes.put.length > 0) log.info(`keeping ${changes.put.map(({ definition }) => definition.name).join(', ')}`);
    if (changes.released.length > 0) log.info(`${changes.released.length} schedules were taken back`);
    if (list.contested === true) log.warn('another process with this identity waits for the schedules of this one');
    for (const { schedule, until } of list.waiting ?? [])
      log.warn(`schedule ${schedule} is held by another journal of this worker, at the latest until ${new Date(until).toISOString()}`);
    if (changes.released.length > 0) this.#keep(link, session);
    open.clock.wake();
    open.uploader.wake();
  }
}
