import type { Pool, PoolClient } from 'pg';
import type { Fired } from '../../protocol/resident.ts';
import type { Logger } from '../../runtime/logging.ts';
import { formatInvocationId } from '../../runtime/wire/invocation-id.ts';
import { slotInvocationId } from '../../runtime/wire/slot-id.ts';
import type { Directory } from '../directory/directory.ts';
import { HistoryBatch } from '../history/history-batch.ts';
import { storable } from '../history/history-rule.ts';
import type { TeamSecrets } from '../history/team-secrets.ts';
import { fireRecords } from './fire-history.ts';
import type { FiresRecord, ReportedFire } from './fires-record.ts';

/** Of any check that fails. */
const NO_PARTITION = '23514';
/** Clocks of workers may be this fast. What lies farther ahead is no slot that was due: its row would be there for ever, and no later slot would count. */
const AHEAD_MS = 86_400_000;
/** SQLSTATE classes of mistakes in what was reported: trying again would fail again. */
const HOPELESS = /^(22|23|42|0A)/;

/** Options of `FireWriter`. */
export interface FireWriterOptions {
  readonly pool: Pool;
  /** A UUID. */
  readonly brokerId: string;
  readonly directory: Directory;
  readonly secrets: TeamSecrets;
  readonly log: Logger;
}

/** Whose fires they are; only ever taken from a session. */
export interface FireSource {
  readonly teamId: number;
  readonly workerId: number;
  readonly identity: string;
}

/** Counters of reported slots; metrics read them. */
export interface FireCounters {
  /** Written, or known already. */
  written: number;
  refused: number;
  /** To be reported again: the database did not take them. */
  postponed: number;
}

interface Accepted {
  readonly place: number;
  readonly fresh: boolean;
  readonly caller: string;
  readonly triggerId: number | null;
}

/**
 * Writes what workers report of their resident schedules: the row of each slot, and what the history keeps of its run, in one
 * transaction, so that a report that comes twice is written once. Only then it is confirmed.
 */
export class FireWriter {
  readonly counters: FireCounters = { written: 0, refused: 0, postponed: 0 };
  readonly #options: FireWriterOptions;
  readonly #brokerId: Buffer;

  constructor(options: FireWriterOptions) {
    this.#options = options;
    this.#brokerId = Buffer.from(options.brokerId.replaceAll('-', ''), 'hex');
  }

  /** Writes a FIRES record and returns what to answer. Never throws. */
  async write(source: FireSource, { upload, fires }: FiresRecord): Promise<Fired> {
    const refused: { fire: number; reason: string }[] = [];
    try {
      const limit = Date.now() + AHEAD_MS;
      const placed = fires.map((fire, place) => ({ fire, place }));
      const [past, ahead] = [placed.filter(({ fire }) => newestTime(fire) <= limit), placed.filter(({ fire }) => newestTime(fire) > limit)];
      for (const { place } of ahead) refused.push({ fire: place, reason: 'it lies in the future: look at the clock of this worker' });
      if (past.length > 0) await this.#writeAll(source, past, refused);
    } catch (err) {
      this.counters.postponed += fires.length;
      this.#options.log.warn({ err }, `cannot write fires of ${source.identity} now`);
      return { upload, retry: (err as Error).message };
    }
    this.counters.refused += refused.length;
    this.counters.written += fires.length - refused.length;
    return { upload, ...(refused.length === 0 ? {} : { refused }) };
  }

  /** What the database refuses is looked for one by one, so that one bad report does not keep the others from being written. */
  async #writeAll(
    source: FireSource,
    fires: readonly { fire: ReportedFire; place: number }[],
    refused: { fire: number; reason: string }[],
  ): Promise<void> {
    try {
      const known = await this.#store(source, fires);
      for (const { place } of fires) {
        if (!known.has(place)) refused.push({ fire: place, reason: 'this worker never kept that schedule' });
      }
    } catch (error) {
      const { code = '', message } = error as { code?: string; message: string };
      if (!HOPELESS.test(code) || (code === NO_PARTITION && (await this.#makePartitions()))) throw error;
      if (fires.length > 1) for (const fire of fires) await this.#writeAll(source, [fire], refused);
      else refused.push({ fire: fires[0]?.place ?? 0, reason: message });
    }
  }

  /** Whether some were missing. */
  async #makePartitions(): Promise<boolean> {
    const { rows } = await this.#options.pool.query<{ made: number }>('select triggerfs.make_history_partitions() as made');
    return (rows[0]?.made ?? 0) > 0;
  }

  /** Returns the places of the fires that are written now or were before. */
  async #store(source: FireSource, fires: readonly { fire: ReportedFire; place: number }[]): Promise<ReadonlySet<number>> {
    await this.#options.secrets.prepare(new Set([source.teamId]));
    const client = await this.#options.pool.connect();
    let broken = true;
    try {
      await client.query('begin');
      const accepted = await report(client, source.workerId, fires);
      await this.#history(client, source, fires, accepted);
      await client.query('commit');
      broken = false;
      return new Set(accepted.keys());
    } catch (error) {
      broken = await client.query('rollback').then(
        () => false,
        () => true,
      );
      throw error;
    } finally {
      client.release(broken);
    }
  }

  async #history(
    client: PoolClient,
    source: FireSource,
    fires: readonly { fire: ReportedFire; place: number }[],
    accepted: ReadonlyMap<number, Accepted>,
  ): Promise<void> {
    const { directory, secrets } = this.#options;
    const batch = new HistoryBatch(secrets);
    if (secrets.get(source.teamId) === undefined) return;
    for (const { fire, place } of fires) {
      const slot = accepted.get(place);
      if (slot?.fresh !== true) continue;
      const records = fireRecords(fire, { ...source, caller: slot.caller, triggerId: slot.triggerId }, directory);
      if (records === null || batch.hasInvocation(records.invocation)) continue;
      batch.addRun(records.run);
      batch.addInvocation(records.invocation);
    }
    if (batch.empty) return;
    await batch.encode(this.#brokerId);
    await batch.write(client);
  }
}

/** The latest time of a report, in milliseconds since 1970. */
function newestTime({ report: { due, through, at, run } }: ReportedFire): number {
  return Math.max(due, through ?? 0, at, run?.startedAt ?? 0, run?.endedAt ?? 0);
}

/** Writes the slots. What is missing from the answer belongs to schedules that the worker never held. */
async function report(
  client: PoolClient,
  workerId: number,
  fires: readonly { fire: ReportedFire; place: number }[],
): Promise<Map<number, Accepted>> {
  const slots = fires.map(({ fire: { report: slot }, place }) => {
    const { schedule, generation, due, through, outcome, reason, at, run } = slot;
    // Only made here: a worker must not be able to name the invocation of somebody else.
    const invocation = run === undefined ? undefined : formatInvocationId(slotInvocationId(schedule, due));
    return { place, schedule, generation, due, through, outcome, reason: storable(reason), at, invocation };
  });
  const { rows } = await client.query<Accepted>('select place, fresh, caller, "triggerId" from triggerfs.report_fires($1, $2)', [
    workerId,
    JSON.stringify(slots),
  ]);
  return new Map(rows.map((row) => [row.place, row]));
}
