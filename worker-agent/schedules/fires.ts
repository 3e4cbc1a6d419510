import type { Log } from '../../runtime/logging.ts';
import type { Book } from './book.ts';
import type { FireEnd, JournalFire, NewFire } from './fire.ts';
import type { FireRecorder } from './fire-recorder.ts';
import type { FireEvents, FireRunner } from './fire-runner.ts';
import type { Journal } from './journal.ts';
import type { Keeper } from './keeper.ts';

/** What the fires need. */
export interface FiresOptions {
  readonly journal: Journal;
  readonly book: Book;
  readonly recorder: FireRecorder;
  /** Something stands in the journal that a broker should know. */
  readonly reported: () => void;
  readonly log: Log;
}

/**
 * Fires what is due: first all slots of the moment go to the disk in one transaction, then they run. What cannot be written is not
 * run, because after a crash it would run again; it stays due, and is caught up or recorded as missed when there is room.
 */
export class Fires implements FireEvents {
  readonly #options: FiresOptions;
  readonly #keepers = new Map<number, Keeper>();
  readonly #silent = new Set<number>();
  #runner: Pick<FireRunner, 'start'> | null = null;
  #failing = false;

  constructor(options: FiresOptions) {
    this.#options = options;
  }

  /** Begins: fires of a process that was killed are closed, those that waited go on. */
  start(runner: Pick<FireRunner, 'start'>): void {
    this.#runner = runner;
    const { journal, book } = this.#options;
    for (const fire of journal.openFires()) {
      if (!fire.waits) journal.end(fire.sequence, lost(fire));
      else this.#wait(fire, book.keepers.get(fire.schedule) ?? null);
    }
    this.#options.reported();
  }

  /** Fires what is due at a time. Returns false when it could not be written. */
  check(now: number): boolean {
    const due: { keeper: Keeper; fires: readonly NewFire[] }[] = [];
    const silence = this.#options.book.silence();
    for (const keeper of this.#options.book.keepers.values()) {
      if (keeper.nextAt > now || this.#isSilent(keeper, silence)) continue;
      const fires = keeper.due(now);
      if (fires.length > 0) due.push({ keeper, fires });
    }
    if (due.length === 0) return true;
    const sequences = this.#write(due);
    if (sequences === null) return false;
    for (const { keeper, fires } of due) {
      keeper.advance(fires);
      for (const fire of fires) this.#begin(keeper, { ...fire, sequence: sequences.shift() as number, end: null });
    }
    if (due.some(({ fires }) => fires.some((fire) => fire.run === null))) this.#options.reported();
    return true;
  }

  output(fire: JournalFire, flags: number, source: Buffer, start: number, end: number): void {
    this.#options.recorder.output(fire.sequence, flags, source, start, end);
  }

  ended(fire: JournalFire, end: Omit<FireEnd, 'droppedBytes'>): void {
    this.#options.recorder.end(fire.sequence, end);
    const keeper = this.#keepers.get(fire.sequence);
    this.#keepers.delete(fire.sequence);
    const next = keeper?.ended(fire.sequence) ?? null;
    if (next !== null) this.#run(next, keeper ?? null);
  }

  postponed(fire: JournalFire): void {
    const { recorder, journal, log } = this.#options;
    recorder.discard(fire.sequence);
    try {
      journal.setBegun(fire.sequence, false);
    } catch (err) {
      log.error({ err }, `a fire of schedule ${fire.run?.name} is given up`);
    }
  }

  #begin(keeper: Keeper, fire: JournalFire): void {
    if (fire.run === null) return;
    if (fire.waits) keeper.waits(fire);
    else this.#start(fire, keeper);
  }

  /** A fire that waited in an earlier process. */
  #wait(fire: JournalFire, keeper: Keeper | null): void {
    if (keeper === null) return this.#run(fire, null);
    keeper.waits(fire);
    const first = keeper.ended(0);
    if (first !== null) this.#run(first, keeper);
  }

  /** Runs a fire that waited until now. */
  #run(fire: JournalFire, keeper: Keeper | null): void {
    try {
      this.#options.journal.transaction(true, () => this.#options.journal.setBegun(fire.sequence, true));
    } catch (err) {
      // It stays in the journal as waiting, for the next start.
      this.#options.log.error({ err }, `a fire of schedule ${fire.run?.name} cannot begin`);
      return;
    }
    this.#start(fire, keeper);
  }

  #start(fire: JournalFire, keeper: Keeper | null): void {
    keeper?.runs(fire);
    if (keeper !== null) this.#keepers.set(fire.sequence, keeper);
    this.#options.recorder.open(fire.sequence);
    this.#runner?.start(fire);
  }

  /** Writes all slots durably and returns their sequences, in order. Output gives way when there is no room. */
  #write(due: readonly { keeper: Keeper; fires: readonly NewFire[] }[]): number[] | null {
    const { journal, recorder, log } = this.#options;
    for (const last of [false, true]) {
      const sequences: number[] = [];
      try {
        journal.transaction(true, () => {
          for (const { keeper, fires } of due) {
            for (const fire of fires) sequences.push(journal.insertFire(fire));
            const newest = fires.at(-1) as NewFire;
            journal.setLast(keeper.definition.schedule, newest.through ?? newest.due);
          }
        });
        if (this.#failing) log.info('the journal of resident schedules can be written again');
        this.#failing = false;
        return sequences;
      } catch (err) {
        if (!last) recorder.makeRoom();
        else if (!this.#failing) log.error({ err }, 'resident schedules do not fire: their journal cannot be written');
      }
    }
    this.#failing = true;
    return null;
  }

  #isSilent({ definition }: Keeper, silence: number): boolean {
    const { schedule, name, offlineMs } = definition;
    const silent = silence > offlineMs;
    if (silent && !this.#silent.has(schedule))
      this.#options.log.warn(`schedule ${name} rests: no broker has confirmed it for ${offlineMs} ms, so somebody else may fire it`);
    if (silent) this.#silent.add(schedule);
    else this.#silent.delete(schedule);
    return silent;
  }
}

function lost({ at }: JournalFire): FireEnd {
  const detail = 'the worker ended during the run';
  return { verdict: 'worker-lost', exitCode: 69, signal: 0, error: 0, detail, startedAt: at, endedAt: at, durationUs: 0, droppedBytes: 0 };
}
