import type { Pool } from 'pg';
import { RecordType } from '../../protocol/records.ts';
import type { Keep, ResidentSchedules } from '../../protocol/resident.ts';
import type { Logger } from '../../runtime/logging.ts';
import type { Directory } from '../directory/directory.ts';
import type { WorkerSession } from '../dispatch/worker-session.ts';
import type { FireWriter } from './fire-writer.ts';
import { readFires } from './fires-record.ts';
import { definitionOf, type ResidentRow } from './resident-row.ts';

/** Clocks of workers may be this fast; a slot that was dealt with cannot lie farther ahead. */
const AHEAD_MS = 86_400_000;

/** What is known of one worker that keeps schedules. */
interface Resident {
  readonly worker: WorkerSession;
  keep: Keep;
  /** Definitions that the worker has: schedule, and `generation/version`. */
  known: Map<number, string>;
  /** Version of the team's configuration that the last list was read at; -1 before the first. */
  listed: number;
  /** When another journal's time is over, in milliseconds since 1970; infinity when none is waited for. */
  waitsUntil: number;
  /** Another journal waits for its schedules: they are not confirmed. */
  contested: boolean;
  /** The database knows of this session. */
  greeted: boolean;
  reading: boolean;
  again: boolean;
  writing: boolean;
}

const IDLE = { greeted: false, reading: false, again: false, writing: false };

/** What the desk needs. */
export interface ResidentDeskOptions {
  readonly pool: Pool;
  readonly directory: Directory;
  readonly writer: FireWriter;
  readonly log: Logger;
}

/**
 * Schedules of the workers that are connected here: which ones they keep is asked of the database, for the worker's journal, when
 * it says KEEP and whenever the team's configuration has changed. That nothing has changed is said only after the database was read.
 */
export class ResidentDesk {
  readonly #options: ResidentDeskOptions;
  readonly #residents = new Map<WorkerSession, Resident>();

  constructor(options: ResidentDeskOptions) {
    this.#options = options;
    options.directory.onChange((teamId) => this.#changed(teamId));
  }

  /** Workers that keep schedules. */
  get size(): number {
    return this.#residents.size;
  }

  /** A worker's KEEP. */
  keep(worker: WorkerSession, keep: Keep): void {
    const known = new Map(keep.schedules.map(({ schedule, generation, version }) => [schedule, `${generation}/${version}`]));
    let resident = this.#residents.get(worker);
    if (resident === undefined) {
      resident = { worker, keep, known, listed: -1, contested: false, waitsUntil: Number.POSITIVE_INFINITY, ...IDLE };
      this.#residents.set(worker, resident);
    }
    resident.keep = keep;
    resident.listed = -1;
    resident.known = known;
    void this.#read(resident);
  }

  /** A worker's FIRES. @throws MalformedBatchError */
  fires(worker: WorkerSession, batch: Buffer, start: number, end: number): void {
    const resident = this.#residents.get(worker);
    const record = readFires(batch, start, end);
    if (resident === undefined || resident.writing) {
      worker.session.outbox.json(RecordType.fired, { upload: record.upload, retry: 'one FIRES at a time, after KEEP' });
      return;
    }
    resident.writing = true;
    const { principal } = worker.session;
    const source = { teamId: principal.teamId, workerId: worker.id, identity: principal.identity };
    void this.#options.writer.write(source, record).then((fired) => {
      resident.writing = false;
      if (this.#residents.get(worker) === resident) worker.session.outbox.json(RecordType.fired, fired);
    });
  }

  /** A worker's session has ended. */
  gone(worker: WorkerSession): void {
    this.#residents.delete(worker);
  }

  /** The directory has just been compared with the database: what has not changed is confirmed. */
  synced(): void {
    const stale: Resident[] = [];
    for (const resident of this.#residents.values()) {
      const { worker, keep, listed, waitsUntil, contested } = resident;
      if (resident.reading) continue;
      if (listed !== this.#version(resident) || waitsUntil <= Date.now()) stale.push(resident);
      else if (!contested) this.#send(worker, { version: listed, keep: keep.keep });
    }
    void this.#readAll(stale);
  }

  #changed(teamId: number): void {
    void this.#readAll([...this.#residents.values()].filter(({ worker }) => worker.session.principal.teamId === teamId));
  }

  /** One after another: a change of a large team must not take all connections to the database. */
  async #readAll(residents: readonly Resident[]): Promise<void> {
    for (const resident of residents) await this.#read(resident);
  }

  /** One reading at a time; what comes meanwhile leads to one more. */
  async #read(resident: Resident): Promise<void> {
    if (resident.reading) {
      resident.again = true;
      return;
    }
    resident.reading = true;
    try {
      do {
        resident.again = false;
        await this.#readOnce(resident);
      } while (resident.again);
    } catch (err) {
      this.#options.log.warn({ err }, `cannot read the schedules of worker ${resident.worker.identity}, trying again`);
    } finally {
      resident.reading = false;
    }
  }

  async #readOnce(resident: Resident): Promise<void> {
    const { worker, keep } = resident;
    // Read before the rows: these may be newer than it says, never older.
    const version = this.#version(resident);
    const { rows } = await this.#options.pool.query<ResidentRow>('select * from triggerfs.keep_schedules($1, $2, $3, $4)', [
      worker.id,
      keep.journal,
      JSON.stringify(keep.released.map((held) => ({ ...held, last: Math.min(held.last, Date.now() + AHEAD_MS) }))),
      !resident.greeted,
    ]);
    resident.greeted = true;
    if (this.#residents.get(worker) !== resident || resident.keep !== keep) return;
    const { principal, outbox } = worker.session;
    const own = rows.filter((row) => row.waiting === null);
    for (const row of own) {
      const definition = definitionOf(row, principal.teamId, this.#options.directory);
      const { schedule, generation } = row;
      if (resident.known.get(schedule) === `${generation}/${definition.version}`) continue;
      resident.known.set(schedule, `${generation}/${definition.version}`);
      outbox.json(RecordType.schedule, definition);
    }
    const waiting = rows.filter((row) => row.waiting !== null).map(({ schedule, waiting: until }) => ({ schedule, until: Number(until) }));
    resident.waitsUntil = Math.min(...waiting.map(({ until }) => until));
    resident.listed = version;
    resident.contested = own.some(({ contested }) => contested);
    const schedules = own.map(({ schedule, generation }) => ({ schedule, generation }));
    const told = { ...(resident.contested ? { contested: true } : {}), ...(waiting.length === 0 ? {} : { waiting }) };
    this.#send(worker, { version, keep: keep.keep, schedules, ...told });
  }

  #version({ worker }: Resident): number {
    return this.#options.directory.team(worker.session.principal.teamId)?.version ?? 0;
  }

  #send(worker: WorkerSession, list: ResidentSchedules): void {
    worker.session.outbox.json(RecordType.schedules, list);
  }
}
