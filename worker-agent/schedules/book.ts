import type { HeldSchedule, ResidentSchedule, ResidentSchedules } from '../../protocol/resident.ts';
import type { Log } from '../../runtime/logging.ts';
import type { Journal } from './journal.ts';
import { Keeper } from './keeper.ts';

/** How long a list counts as the newest one against lists of brokers that read earlier. */
const NEWEST_MS = 60_000;
/** How exactly the time of the last word is remembered over a restart. */
const REMEMBER_MS = 5_000;
const HEARD = 'heard';

/** What a list changed. */
export interface BookChanges {
  readonly put: readonly Keeper[];
  readonly released: readonly number[];
}

/**
 * The schedules that are this worker's, as brokers said and the journal remembers: which definitions, since when, and how long
 * ago a broker confirmed it. A definition counts only when a list names it, and a list only when it is not older than the last one.
 */
export class Book {
  readonly keepers = new Map<number, Keeper>();
  /** Versions of definitions that cannot be kept, by schedule. */
  readonly #broken = new Map<number, number>();
  readonly #journal: Journal;
  readonly #log: Log;
  #version = 0;
  #listedAt = Number.NEGATIVE_INFINITY;
  #heardWall: number;
  #heardMono: number;
  #rememberedAt = 0;

  constructor(journal: Journal, log: Log) {
    this.#journal = journal;
    this.#log = log;
    for (const { held, definition } of journal.schedules()) this.#put(definition, held.last);
    this.#heardWall = Number(journal.state(HEARD) ?? 0);
    this.#heardMono = performance.now() - Math.max(Date.now() - this.#heardWall, 0);
  }

  /** Milliseconds since a broker confirmed the schedules, by the slower clock. */
  silence(): number {
    return Math.max(Date.now() - this.#heardWall, performance.now() - this.#heardMono);
  }

  /** What KEEP says. */
  held(): HeldSchedule[] {
    return [...this.keepers.values()].map(({ definition: { schedule, generation, version }, last }) => ({
      schedule,
      generation,
      version,
      last,
    }));
  }

  /**
   * A SCHEDULES arrived, and before it these definitions. Returns what it changed, or null when it is too old to count, or
   * only confirms what is known already. @throws Error of SQLite when it cannot be written; then nothing has changed
   */
  take(list: ResidentSchedules, definitions: readonly ResidentSchedule[]): BookChanges | null {
    if (list.version < this.#version && performance.now() - this.#listedAt < NEWEST_MS) return null;
    if (list.schedules === undefined) {
      if (list.version === this.#version) this.#heard();
      return null;
    }
    const changes = this.#apply(new Map(list.schedules.map(({ schedule, generation }) => [schedule, generation])), definitions);
    this.#version = list.version;
    this.#listedAt = performance.now();
    if (list.contested !== true) this.#heard();
    return changes;
  }

  #apply(listed: ReadonlyMap<number, number>, definitions: readonly ResidentSchedule[]): BookChanges {
    const released = [...this.keepers.values()]
      .filter(({ definition }) => listed.get(definition.schedule) !== definition.generation)
      .map(({ definition }) => definition.schedule);
    const changed = definitions.filter(({ schedule, generation }) => listed.get(schedule) === generation);
    const put: Keeper[] = [];
    this.#journal.transaction(true, () => {
      for (const schedule of released) this.#journal.release(schedule);
      for (const definition of changed) this.#journal.putSchedule(definition, this.#lastOf(definition));
    });
    for (const schedule of released) this.keepers.delete(schedule);
    for (const definition of changed) {
      const keeper = this.#put(definition, this.#lastOf(definition));
      if (typeof keeper !== 'string') put.push(keeper);
      else if (keeper !== '') this.#tellBroken(definition, keeper);
    }
    return { put, released };
  }

  /** Slots up to this are dealt with, or somebody else's. A journal that forgot what it fired fires nothing again. */
  #lastOf(definition: ResidentSchedule): number {
    const known = this.keepers.get(definition.schedule);
    if (known?.definition.generation === definition.generation) return Math.max(known.last, definition.from);
    return definition.taken ? Math.max(definition.from, Date.now()) : definition.from;
  }

  /** Nobody else looks at the rule of a resident schedule: the team learns from its slots that there will be none. */
  #tellBroken({ schedule, generation }: ResidentSchedule, reason: string): void {
    const now = Date.now();
    const entry = { schedule, generation, due: now, through: null, at: now, run: null, waits: false };
    this.#journal.insertFire({ ...entry, outcome: 'missed', reason: reason.slice(0, 1000) });
  }

  /** Returns the reason when there can be no keeper; empty when that is known already. */
  #put(definition: ResidentSchedule, last: number): Keeper | string {
    const { schedule, version, name } = definition;
    try {
      const keeper = new Keeper(definition, last, this.keepers.get(schedule) ?? null);
      this.keepers.set(schedule, keeper);
      return keeper;
    } catch (error) {
      if (this.#broken.get(schedule) === version) return '';
      this.#broken.set(schedule, version);
      const reason = `its rule cannot be read: ${(error as Error).message}`;
      this.#log.error(`schedule ${name} is not kept: ${reason}`);
      return reason;
    }
  }

  #heard(): void {
    this.#heardWall = Date.now();
    this.#heardMono = performance.now();
    if (this.#heardMono - this.#rememberedAt < REMEMBER_MS && this.#rememberedAt !== 0) return;
    this.#rememberedAt = this.#heardMono;
    this.#journal.setState(HEARD, this.#heardWall);
  }
}
