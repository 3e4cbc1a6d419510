import type { Pool, PoolClient } from 'pg';
import type { Logger } from '../../runtime/logging.ts';
import { formatInvocationId } from '../../runtime/wire/invocation-id.ts';
import { HistoryBudget } from './budget.ts';
import { HistoryBatch, ROW_BYTES } from './history-batch.ts';
import type { InvocationRecord, RunRecord } from './history-records.ts';
import { alignRuns } from './repeated-runs.ts';
import { findReused } from './reused-ids.ts';
import type { TeamSecrets } from './team-secrets.ts';

const INTERVAL_MS = 250;
/** So much is written without waiting for the interval. */
const SOON_BYTES = 2 * 1024 * 1024;
const RETRY_MS = 1_000;
const STALL_MS = 5_000;
const STOP_MS = 5_000;
const NO_PARTITION = '23514';
/** SQLSTATE classes of mistakes in the data or in us: trying again would fail again. */
const HOPELESS = /^(22|23|42|0A)/;
const HOPELESS_TRIES = 3;

/** Options of `HistoryWriter`. */
export interface HistoryWriterOptions {
  readonly pool: Pool;
  /** A UUID. */
  readonly brokerId: string;
  readonly secrets: TeamSecrets;
  readonly log: Logger;
  /** See HistoryBudget. */
  readonly limitBytes: number;
}

/**
 * Writes what the recorder hands over, in bulk: records and output wait in memory until the next flush.
 *
 *   idle ──something changed──▶ waiting (250 ms, or 2 MiB) ──▶ flushing ──stored──▶ idle | waiting
 *                                                                └─failed──▶ failing ──retry each second──▶ flushing
 *
 * One flush at a time. A batch that failed is kept and tried again, so that nothing is lost and the order stays.
 */
export class HistoryWriter {
  readonly budget: HistoryBudget;
  /** Called when waiting readers may go on. */
  relieved: () => void = () => undefined;
  readonly #pool: Pool;
  readonly #brokerId: Buffer;
  readonly #secrets: TeamSecrets;
  readonly #log: Logger;
  #invocations: InvocationRecord[] = [];
  #runs: RunRecord[] = [];
  /** Encoded and not stored yet, oldest first. */
  readonly #batches: HistoryBatch[] = [];
  #dirtySince = 0;
  #hopeless = 0;
  #timer: NodeJS.Timeout | null = null;
  #timerAt = 0;
  #flushing: Promise<void> | null = null;
  #stopping = false;

  constructor({ pool, brokerId, secrets, log, limitBytes }: HistoryWriterOptions) {
    this.#pool = pool;
    this.#brokerId = Buffer.from(brokerId.replaceAll('-', ''), 'hex');
    this.#secrets = secrets;
    this.#log = log;
    this.budget = new HistoryBudget(limitBytes);
  }

  /** Age of the oldest thing that is not stored, in milliseconds. */
  get lagMs(): number {
    const since = this.#batches[0]?.since ?? this.#dirtySince;
    return since === 0 ? 0 : Date.now() - since;
  }

  /** Makes the partitions of the coming days; without the database that is left for the first flush. */
  async start(): Promise<void> {
    try {
      await this.#pool.query('select triggerfs.make_history_partitions()');
    } catch (err) {
      this.#log.warn({ err }, 'cannot make the partitions of the history yet');
    }
  }

  /** Stores what waits, as far as the database takes it within five seconds. */
  async stop(): Promise<void> {
    this.#stopping = true;
    const limit = Date.now() + STOP_MS;
    while ((this.#pending || this.#flushing !== null) && Date.now() < limit) {
      await this.flush();
      if (this.budget.failing) await new Promise((resolve) => setTimeout(resolve, RETRY_MS / 4));
    }
    if (this.#timer !== null) clearTimeout(this.#timer);
    if (this.#pending) this.#log.error(`${this.budget.buffered} bytes of history could not be stored`);
  }

  /** An invocation was accepted or has ended. */
  invocationChanged(record: InvocationRecord): void {
    if (record.dirty) return;
    record.dirty = true;
    this.#invocations.push(record);
    record.memory = ROW_BYTES + (record.payload?.length ?? 0);
    this.#grow(record.memory);
  }

  /** A run has begun or ended. */
  runChanged(record: RunRecord): void {
    record.rowDirty = true;
    this.#touch(record);
  }

  /** Output was added to a run, which takes so many bytes more of memory. */
  outputAdded(record: RunRecord, bytes: number): void {
    this.budget.buffered += bytes;
    this.#touch(record);
    if (this.budget.buffered > SOON_BYTES) this.#schedule(0);
  }

  /** Stores what waits now. Never throws. */
  flush(): Promise<void> {
    this.#flushing ??= this.#flushAll().finally(() => {
      this.#flushing = null;
    });
    return this.#flushing;
  }

  get #pending(): boolean {
    return this.#batches.length > 0 || this.#invocations.length > 0 || this.#runs.length > 0;
  }

  #touch(record: RunRecord): void {
    if (record.dirty) return;
    record.dirty = true;
    record.invocation.dirtyRuns += 1;
    this.#runs.push(record);
    this.#grow(ROW_BYTES);
  }

  #grow(bytes: number): void {
    this.budget.buffered += bytes;
    if (this.#dirtySince === 0) this.#dirtySince = Date.now();
    this.#schedule(this.budget.buffered > SOON_BYTES ? 0 : INTERVAL_MS);
  }

  #schedule(delayMs: number): void {
    if (this.#flushing !== null) return;
    const at = Date.now() + delayMs;
    if (this.#timer !== null) {
      if (this.#timerAt <= at || this.budget.failing) return;
      clearTimeout(this.#timer);
    }
    this.#timerAt = at;
    this.#timer = setTimeout(() => {
      this.#timer = null;
      void this.flush();
    }, delayMs);
  }

  async #flushAll(): Promise<void> {
    const stall = setTimeout(() => this.#setFailing(true), STALL_MS);
    try {
      while (await this.#flushOnce()) {
        stall.refresh();
        this.#setFailing(false);
        this.relieved();
        if (this.budget.buffered < SOON_BYTES) break;
      }
    } catch (err) {
      if (!this.budget.failing) this.#log.warn({ err }, 'cannot write the history, trying again');
      this.#setFailing(true);
    } finally {
      clearTimeout(stall);
      setImmediate(() => {
        if (this.#pending) this.#schedule(this.budget.failing ? RETRY_MS : INTERVAL_MS);
      });
    }
  }

  /** Writes one batch; false when there is nothing that can be written yet. While it is written, the next one is encoded. */
  async #flushOnce(): Promise<boolean> {
    if (this.#batches.length === 0) await this.#encodeNext(true);
    const [batch] = this.#batches;
    if (batch === undefined) return false;
    const ahead = this.#batches.length === 1 && this.budget.buffered - batch.bytes > SOON_BYTES ? this.#encodeNext(false) : null;
    let stored: boolean;
    try {
      stored = await this.#store(batch);
    } finally {
      // Its own trouble comes up again when it is its turn.
      await ahead?.catch(() => undefined);
    }
    if (!stored) return true;
    const { rows } = batch;
    const { counters } = this.budget;
    counters.invocations += rows.invocations;
    counters.runs += rows.runs;
    counters.outputs += rows.outputs;
    this.#forget(batch);
    return true;
  }

  /** Chooses and encodes a batch. `align`: nothing is on its way, so the tables tell what is stored of runs that are repeated. */
  async #encodeNext(align: boolean): Promise<void> {
    const records = [...this.#invocations, ...this.#runs.map(({ invocation }) => invocation)];
    await this.#secrets.prepare(new Set(records.map(teamOf)));
    for (const { id, rule } of await findReused(this.#pool, records)) {
      const invocation = formatInvocationId(id);
      this.#log.warn(
        { invocation, team: rule.teamId, caller: rule.caller },
        'a request has the id of an earlier invocation: it is not kept',
      );
    }
    if (align) await alignRuns(this.#pool, this.#runs, this.#stopping);
    const batch = this.#take();
    if (batch.empty) return;
    this.#batches.push(...(await this.#encode(batch)));
  }

  /** What cannot be encoded is found by halving and dropped, so that it takes nothing else along. */
  async #encode(batch: HistoryBatch): Promise<HistoryBatch[]> {
    try {
      await batch.encode(this.#brokerId);
      return [batch];
    } catch (err) {
      const parts = batch.split();
      if (parts.length === 0) this.#drop(batch, err);
      return (await Promise.all(parts.map((part) => this.#encode(part)))).flat();
    }
  }

  /** Chooses what the next batch holds. Runs come first: an invocation waits until all that is known of its runs goes with it. */
  #take(): HistoryBatch {
    const batch = new HistoryBatch(this.#secrets, this.#dirtySince);
    const runs = this.#runs;
    this.#runs = [];
    for (const record of runs) {
      const { invocation } = record;
      if (invocation.reused || this.#secrets.without(invocation.rule.teamId)) {
        this.#dropRun(record);
        continue;
      }
      if (batch.full || !this.#ready(invocation) || !invocation.checked || record.skip === null || batch.hasRun(record)) {
        this.#runs.push(record);
        continue;
      }
      record.dirty = false;
      invocation.dirtyRuns -= 1;
      batch.addRun(record);
    }
    const invocations = this.#invocations;
    this.#invocations = [];
    for (const record of invocations) {
      if (record.reused || this.#secrets.without(record.rule.teamId)) {
        this.#dropInvocation(record);
        continue;
      }
      const waits = record.endedAt !== null && record.dirtyRuns > 0;
      if (batch.full || waits || !this.#ready(record) || !record.checked || batch.hasInvocation(record)) {
        this.#invocations.push(record);
        continue;
      }
      record.dirty = false;
      batch.addInvocation(record);
    }
    if (this.#runs.length + this.#invocations.length === 0) this.#dirtySince = 0;
    return batch;
  }

  #ready(record: InvocationRecord): boolean {
    return this.#secrets.get(record.rule.teamId) !== undefined;
  }

  /** Its id is another's, or there is no key for its team, so nothing of it can be stored. */
  #dropRun(record: RunRecord): void {
    this.budget.buffered -= ROW_BYTES + record.output.memory;
    // What has another's id is refused, not missing.
    const counted = record.invocation.reused ? 0 : 1;
    for (const { bytes } of record.output.take()) this.budget.counters.droppedBytes += bytes * counted;
    record.dirty = false;
    record.rowDirty = false;
    record.invocation.dirtyRuns -= 1;
  }

  #dropInvocation(record: InvocationRecord): void {
    this.budget.buffered -= record.memory;
    record.dirty = false;
    record.payload = null;
    if (record.endedAt !== null && !record.reused) this.budget.counters.droppedInvocations += 1;
  }

  /** False: it could not be stored, and never can be as it is, so something was done about it. */
  async #store(batch: HistoryBatch): Promise<boolean> {
    let client: PoolClient | null = null;
    try {
      client = await this.#pool.connect();
      await batch.store(client);
      client.release();
      return true;
    } catch (error) {
      client?.release(true);
      if (!(await this.#isHopeless(error as Error & { code?: string }))) throw error;
      this.#batches.shift();
      const parts = batch.split();
      if (parts.length === 0) this.#drop(batch, error);
      for (const part of parts.reverse()) this.#batches.unshift(...(await this.#encode(part)));
      return false;
    }
  }

  async #isHopeless(error: Error & { code?: string }): Promise<boolean> {
    if (!HOPELESS.test(error.code ?? '')) return false;
    if (error.code === NO_PARTITION) await this.start();
    this.#hopeless += 1;
    return this.#hopeless >= HOPELESS_TRIES;
  }

  #drop(batch: HistoryBatch, err: unknown): void {
    this.#log.error({ err }, 'an invocation cannot be stored in the history and is dropped');
    this.budget.counters.droppedInvocations += 1;
    this.budget.buffered -= batch.bytes;
  }

  #forget(batch: HistoryBatch): void {
    this.budget.buffered -= batch.bytes;
    this.#batches.shift();
    if (this.#batches.length < 2) this.#hopeless = 0;
  }

  #setFailing(failing: boolean): void {
    if (this.budget.failing === failing) return;
    this.budget.failing = failing;
    if (failing) this.relieved();
    else this.#log.info('the history is written again');
  }
}

function teamOf({ rule }: InvocationRecord): number {
  return rule.teamId;
}
