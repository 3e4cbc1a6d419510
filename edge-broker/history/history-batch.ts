import type { PoolClient } from 'pg';
import { type Block, withoutFirst } from './block-buffer.ts';
import type { InvocationEntry, InvocationRecord, RunRecord } from './history-records.ts';
import { InvocationRows, OutputRows, RunRows } from './rows.ts';
import type { TeamSecret, TeamSecrets } from './team-secrets.ts';

/** What a record costs besides what it holds; an estimate. */
export const ROW_BYTES = 600;

const MAX_BYTES = 4 * 1024 * 1024;
const MAX_ROWS = 10_000;
/** Sealing this much at a time keeps the broker's other work waiting for a millisecond or two at most. */
const SLICE_BYTES = 128 * 1024;
const SLICE_ROWS = 100;

interface NumberedBlock {
  readonly run: RunRecord;
  readonly number: number;
  readonly block: Block;
}

/** What one flush writes: chosen in one turn of the event loop, so that it fits together; then sealed in slices. */
export class HistoryBatch {
  /** Bytes of memory that are free once it is stored. */
  bytes = 0;
  /** Rows in it, once it is encoded. */
  rows = { invocations: 0, runs: 0, outputs: 0 };
  #runs: { readonly record: RunRecord; readonly over: boolean }[] = [];
  #invocations: InvocationEntry[] = [];
  #blocks: NumberedBlock[] = [];
  /** Bytes by what they belong to. */
  readonly #weights = new Map<InvocationRecord, number>();
  readonly #keys = new Set<string>();
  /** When the oldest of it happened, in milliseconds since 1970. */
  readonly since: number;
  readonly #secrets: TeamSecrets;
  #statements: { readonly name: string; readonly text: string; readonly values: readonly Buffer[] }[] = [];

  constructor(secrets: TeamSecrets, since = Date.now()) {
    this.#secrets = secrets;
    this.since = since;
  }

  get full(): boolean {
    return this.bytes > MAX_BYTES || this.#runs.length + this.#blocks.length > MAX_ROWS || this.#invocations.length > MAX_ROWS;
  }

  get empty(): boolean {
    return this.#runs.length + this.#blocks.length + this.#invocations.length === 0;
  }

  /** Whether the run's row, which may have been begun twice, is in here already: one statement cannot touch a row twice. */
  hasRun(record: RunRecord): boolean {
    return this.#keys.has(runKey(record));
  }

  /** Whether the invocation is in here already, from another session. */
  hasInvocation(record: InvocationRecord): boolean {
    return this.#keys.has(record.id.toString('latin1'));
  }

  /** Takes what is new of a run. */
  addRun(record: RunRecord): void {
    this.#keys.add(runKey(record));
    this.#weigh(record.invocation, record.output.memory + ROW_BYTES);
    for (const block of record.output.take()) this.#addBlock(record, block);
    if (record.rowDirty) this.#runs.push({ record, over: record.endedAt !== null });
    record.rowDirty = false;
  }

  /** Takes what is new of an invocation. */
  addInvocation(record: InvocationRecord): void {
    this.#keys.add(record.id.toString('latin1'));
    this.#weigh(record, record.memory);
    this.#invocations.push({ record, over: record.endedAt !== null, payload: record.payload });
    record.payload = null;
  }

  /** Blackens, seals and encodes everything, letting other work pass in between. */
  async encode(brokerId: Buffer): Promise<void> {
    const outputs = new OutputRows();
    const runs = new RunRows();
    const invocations = new InvocationRows(brokerId);
    const slice = new Slice();
    for (const { run, number, block } of this.#blocks) {
      outputs.add(run, number, block, this.#secret(run.invocation));
      if (slice.spend(block.data.length)) await turn();
    }
    for (const { record, over } of this.#runs) {
      runs.add(record, over, this.#secret(record.invocation));
      if (slice.spend(0)) await turn();
    }
    for (const entry of this.#invocations) {
      invocations.add(entry, this.#secret(entry.record));
      if (slice.spend(entry.payload?.length ?? 0)) await turn();
    }
    this.rows = { invocations: invocations.count, runs: runs.count, outputs: outputs.count };
    this.#statements = [];
    if (outputs.count > 0) this.#statements.push({ name: 'history-outputs', text: OutputRows.sql, values: outputs.finish() });
    if (runs.count > 0) this.#statements.push({ name: 'history-runs', text: RunRows.sql, values: runs.finish() });
    if (invocations.count > 0)
      this.#statements.push({ name: 'history-invocations', text: InvocationRows.sql, values: invocations.finish() });
  }

  /** Two halves, to find what cannot be stored; teams stay together as far as they can. Empty when it holds one invocation only. */
  split(): HistoryBatch[] {
    const records = [...this.#weights.keys()].sort((a, b) => a.rule.teamId - b.rule.teamId);
    if (records.length < 2) return [];
    const first = new Set(records.slice(0, records.length / 2));
    return [this.#part((record) => first.has(record)), this.#part((record) => !first.has(record))];
  }

  #part(holds: (record: InvocationRecord) => boolean): HistoryBatch {
    const part = new HistoryBatch(this.#secrets, this.since);
    part.#runs = this.#runs.filter(({ record }) => holds(record.invocation));
    part.#invocations = this.#invocations.filter(({ record }) => holds(record));
    part.#blocks = this.#blocks.filter(({ run }) => holds(run.invocation));
    for (const [record, bytes] of this.#weights) if (holds(record)) part.#weigh(record, bytes);
    return part;
  }

  #weigh(record: InvocationRecord, bytes: number): void {
    this.bytes += bytes;
    this.#weights.set(record, (this.#weights.get(record) ?? 0) + bytes);
  }

  /**
   * Writes everything in one transaction, outputs before the runs and invocations that they belong to. Repeating it is harmless.
   * Losing the last instants of history in a crash of PostgreSQL is worth not waiting for its disk.
   */
  async store(client: PoolClient): Promise<void> {
    await client.query('begin; set local synchronous_commit = off');
    try {
      await this.write(client);
      await client.query('commit');
    } catch (error) {
      await client.query('rollback').catch(() => undefined);
      throw error;
    }
  }

  /** Writes everything in the transaction of the client. */
  async write(client: PoolClient): Promise<void> {
    for (const { name, text, values } of this.#statements) await client.query({ name, text, values: [...values] });
  }

  #addBlock(run: RunRecord, block: Block): void {
    const skip = Math.min(run.skip ?? 0, block.bytes);
    if (run.skip !== null) run.skip -= skip;
    const rest = skip === 0 ? block : withoutFirst(block, skip);
    if (rest === null) return;
    this.#blocks.push({ run, number: run.nextBlock, block: run.gap ? { ...rest, gap: true } : rest });
    run.gap = false;
    run.nextBlock += 1;
  }

  #secret(record: InvocationRecord): TeamSecret {
    return this.#secrets.get(record.rule.teamId) as TeamSecret;
  }
}

function runKey({ invocation, workerId, attempt }: RunRecord): string {
  return `${invocation.id.toString('latin1')}${workerId}/${attempt}`;
}

/** Tells when so much was done that other work should have its turn. */
class Slice {
  #bytes = 0;
  #rows = 0;

  spend(bytes: number): boolean {
    this.#bytes += bytes;
    this.#rows += 1;
    if (this.#bytes < SLICE_BYTES && this.#rows < SLICE_ROWS) return false;
    this.#bytes = 0;
    this.#rows = 0;
    return true;
  }
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
