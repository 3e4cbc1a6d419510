import type { HeldSchedule, ResidentSchedule } from '../../protocol/resident.ts';
import { LocalDatabase } from '../../runtime/sqlite/local-database.ts';
import { type FireEnd, type FireRow, fireOf, type JournalFire, type NewFire } from './fire.ts';

const SCHEMA = `
create table if not exists state (key text primary key, value) without rowid;
create table if not exists schedules (
  id integer primary key, generation integer not null, version integer not null, last integer not null, definition text not null
);
create table if not exists releases (id integer primary key, generation integer not null, version integer not null, last integer not null);
create table if not exists fires (
  sequence integer primary key autoincrement, schedule integer not null, generation integer not null, due integer not null, through integer,
  outcome text not null, reason text not null, at integer not null, definition text, begun integer not null, ended text
);
create index if not exists fires_ended on fires (sequence) where ended is not null;
create table if not exists outputs (
  fire integer not null, block integer not null, bytes integer not null, data blob not null, primary key (fire, block)
) without rowid;
pragma user_version = 1;
`;

/**
 * The tables of a worker's journal, one method a statement: the schedules that it keeps, up to which slot they are dealt with,
 * and the fires that no broker has confirmed. What `begin` writes survives the loss of power; the rest survives kill -9.
 */
export class Journal {
  readonly #database: LocalDatabase;

  /** `maxPages`: pages of 4 KiB that the file may have. @throws Error of SQLite when the file is damaged or cannot be written */
  constructor(path: string, maxPages: number) {
    this.#database = new LocalDatabase(path);
    try {
      this.#database.run('pragma journal_mode = wal; pragma synchronous = normal; pragma busy_timeout = 2000;');
      this.#database.run(`pragma journal_size_limit = 16777216; pragma cache_size = -4096; pragma max_page_count = ${maxPages}`);
      this.#check();
      this.#database.run(SCHEMA);
    } catch (error) {
      this.#database.close();
      throw error;
    }
  }

  close(): void {
    this.#database.close();
  }

  /** Runs `work` in one transaction; `durable` waits until it is on the disk. Nothing of it stays when it throws. */
  transaction(durable: boolean, work: () => void): void {
    this.#database.transaction(durable, work);
  }

  state(key: string): string | number | null {
    const row = this.#database.prepare('select value from state where key = ?').get(key) as { value: string | number } | undefined;
    return row?.value ?? null;
  }

  setState(key: string, value: string | number): void {
    this.#database.prepare('insert or replace into state values (?, ?)').run(key, value);
  }

  schedules(): { held: HeldSchedule; definition: ResidentSchedule }[] {
    const rows = this.#database.prepare('select * from schedules').all() as unknown as (HeldSchedule & {
      id: number;
      definition: string;
    })[];
    return rows.map(({ id, generation, version, last, definition }) => ({
      held: { schedule: id, generation, version, last },
      definition: JSON.parse(definition) as ResidentSchedule,
    }));
  }

  putSchedule(definition: ResidentSchedule, last: number): void {
    const { schedule, generation, version } = definition;
    this.#database
      .prepare('insert or replace into schedules values (?, ?, ?, ?, ?)')
      .run(schedule, generation, version, last, JSON.stringify(definition));
  }

  setLast(schedule: number, last: number): void {
    this.#database.prepare('update schedules set last = ? where id = ?').run(last, schedule);
  }

  /** The schedule is not kept any more; the release stays until a broker has heard of it. */
  release(schedule: number): void {
    this.#database
      .prepare('insert or replace into releases select id, generation, version, last from schedules where id = ?')
      .run(schedule);
    this.#database.prepare('delete from schedules where id = ?').run(schedule);
  }

  releases(): HeldSchedule[] {
    const rows = this.#database.prepare('select * from releases').all() as unknown as (HeldSchedule & { id: number })[];
    return rows.map(({ id, generation, version, last }) => ({ schedule: id, generation, version, last }));
  }

  forgetRelease({ schedule, generation }: HeldSchedule): void {
    this.#database.prepare('delete from releases where id = ? and generation = ?').run(schedule, generation);
  }

  /** Writes a slot down and returns its sequence. */
  insertFire(fire: NewFire): number {
    const { schedule, generation, due, through, outcome, reason, at, run, waits } = fire;
    const { lastInsertRowid } = this.#database
      .prepare('insert into fires values (null, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)')
      .run(
        schedule,
        generation,
        due,
        through,
        outcome,
        reason,
        at,
        run === null ? null : JSON.stringify(run),
        waits ? 0 : 1,
        run === null ? '{}' : null,
      );
    return Number(lastInsertRowid);
  }

  /** A fire that waited begins, or one that could not begin waits again. */
  setBegun(sequence: number, begun: boolean): void {
    this.#database.prepare('update fires set begun = ? where sequence = ?').run(begun ? 1 : 0, sequence);
  }

  /** A fire that waited is not run. */
  skip(sequence: number, reason: string): void {
    this.#database
      .prepare("update fires set outcome = 'skipped', reason = ?, definition = null, ended = '{}' where sequence = ?")
      .run(reason, sequence);
  }

  end(sequence: number, end: FireEnd): void {
    this.#database.prepare('update fires set ended = ? where sequence = ?').run(JSON.stringify(end), sequence);
  }

  addOutput(sequence: number, block: number, data: Buffer): void {
    this.#database.prepare('insert into outputs values (?, ?, ?, ?)').run(sequence, block, data.length, data);
  }

  dropBlock(sequence: number, block: number): void {
    this.#database.prepare('delete from outputs where fire = ? and block = ?').run(sequence, block);
  }

  /** Bytes of output in the journal. */
  outputBytes(): number {
    return Number((this.#database.prepare('select coalesce(sum(bytes), 0) as bytes from outputs').get() as { bytes: number }).bytes);
  }

  /** Drops all output of the oldest ended fire that has some, and returns its bytes; 0 when there is none. */
  dropOldestOutput(): number {
    const row = this.#database
      .prepare(
        'select fire, sum(bytes) as bytes from outputs where fire = (select min(o.fire) from outputs o join fires f on f.sequence = o.fire and f.ended is not null) group by fire',
      )
      .get() as { fire: number; bytes: number } | undefined;
    if (row === undefined) return 0;
    this.#database.prepare('delete from outputs where fire = ?').run(row.fire);
    this.#noteDropped(row.fire, row.bytes);
    return row.bytes;
  }

  /** Output of a fire, in order. */
  output(sequence: number): Buffer {
    const rows = this.#database.prepare('select data from outputs where fire = ? order by block').all(sequence) as unknown as {
      data: Uint8Array;
    }[];
    return Buffer.concat(rows.map((row) => row.data));
  }

  /** Fires that have not ended: those of a worker that was killed, and those that waited. */
  openFires(): JournalFire[] {
    return (this.#database.prepare('select * from fires where ended is null order by sequence').all() as unknown as FireRow[]).map(fireOf);
  }

  /** Ended fires that no broker has confirmed, oldest first. */
  endedFires(limit: number): JournalFire[] {
    const rows = this.#database.prepare('select * from fires where ended is not null order by sequence limit ?').all(limit);
    return (rows as unknown as FireRow[]).map(fireOf);
  }

  deleteFire(sequence: number): void {
    this.#database.prepare('delete from outputs where fire = ?').run(sequence);
    this.#database.prepare('delete from fires where sequence = ?').run(sequence);
  }

  #noteDropped(sequence: number, bytes: number): void {
    this.#database
      .prepare(
        "update fires set ended = json_set(ended, '$.droppedBytes', coalesce(json_extract(ended, '$.droppedBytes'), 0) + ?) where sequence = ?",
      )
      .run(bytes, sequence);
  }

  #check(): void {
    const row = this.#database.prepare('pragma quick_check(1)').get() as { quick_check: string } | undefined;
    if (row?.quick_check !== 'ok') throw new Error(`the journal is damaged: ${row?.quick_check ?? 'it cannot be read'}`);
  }
}
