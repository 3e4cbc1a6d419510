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

const UNIQUE_VIOLATION = '23505';

interface RunEntry {
  readonly record: RunRecord;
  /** With how it ended. */
  readonly over: boolean;
  /** Its first row. */
  readonly fresh: boolean;
}

/** One statement, for rows that are new and for rows that may be there. */
interface Statement {
  readonly name: string;
  readonly insert: string;
  readonly upsert: string;
  readonly fresh: boolean;
  readonly values: readonly Buffer[];
}

/** Rows of one table as columns. */
interface Rows {
  readonly count: number;
  finish(): readonly Buffer[];
}

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
  #runs: RunEntry[] = [];
  #invocations: InvocationEntry[] = [];
  #blocks: NumberedBlock[] = [];
  /** Bytes by what they belong to. */
  readonly #weights = new Map<InvocationRecord, number>();
  readonly #keys = new Set<string>();
  /** When the oldest of it happened, in milliseconds since 1970. */
  readonly since: number;
  readonly #secrets: TeamSecrets;
  #statements: Statement[] = [];

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
    if (!record.rowDirty) return;
    this.#runs.push({ record, over: record.endedAt !== null, fresh: !record.stored });
    record.rowDirty = false;
    record.stored = true;
  }

  /** Takes what is new of an invocation. */
  addInvocation(record: InvocationRecord): void {
    this.#keys.add(record.id.toString('latin1'));
    this.#weigh(record, record.memory);
    this.#invocations.push({ record, over: record.endedAt !== null, fresh: !record.stored, payload: record.payload });
    record.payload = null;
    record.stored = true;
  }

  /** Blackens, seals and encodes everything, letting other work pass in between. */
  async encode(brokerId: Buffer): Promise<void> {
    const outputs = new OutputRows();
    const runs = { fresh: new RunRows(), stored: new RunRows() };
    const invocations = { fresh: new InvocationRows(brokerId), stored: new InvocationRows(brokerId) };
    const slice = new Slice();
    for (const { run, number, block } of this.#blocks) {
      outputs.add(run, number, block, this.#secret(run.invocation));
      if (slice.spend(block.data.length)) await turn();
    }
    for (const { record, over, fresh } of this.#runs) {
      runs[fresh ? 'fresh' : 'stored'].add(record, over, this.#secret(record.invocation));
      if (slice.spend(0)) await turn();
    }
    for (const entry of this.#invocations) {
      invocations[entry.fresh ? 'fresh' : 'stored'].add(entry, this.#secret(entry.record));
      if (slice.spend(entry.payload?.length ?? 0)) await turn();
    }
    this.rows = { invocations: this.#invocations.length, runs: this.#runs.length, outputs: outputs.count };
    this.#statements = [
      ...statement('outputs', OutputRows, outputs, true),
      ...statement('runs', RunRows, runs.fresh, true),
      ...statement('runs', RunRows, runs.stored, false),
      ...statement('invocations', InvocationRows, invocations.fresh, true),
      ...statement('invocations', InvocationRows, invocations.stored, false),
    ];
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
    try {
      await this.#transaction(client, false);
    } catch (error) {
      // A flush whose answer was lost, or a caller that uses an id again.
      if ((error as { code?: string }).code !== UNIQUE_VIOLATION) throw error;
      await this.#transaction(client, true);
    }
  }

  /** Writes everything in the transaction of the client, whatever of it is there already. */
  async write(client: PoolClient): Promise<void> {
    await this.#write(client, true);
  }

  async #transaction(client: PoolClient, repeated: boolean): Promise<void> {
    await client.query('begin; set local synchronous_commit = off');
    try {
      await this.#write(client, repeated);
      await client.query('commit');
    } catch (error) {
      await client.query('rollback').catch(() => undefined);
      throw error;
    }
  }

  /** A row that is inserted without asking whether it is there costs PostgreSQL a fifth less. `repeated`: ask for all. */
  async #write(client: PoolClient, repeated: boolean): Promise<void> {
    for (const { name, insert, upsert, fresh, values } of this.#statements) {
      const plain = fresh && !repeated;
      await client.query({ name: plain ? `${name}-new` : name, text: plain ? insert : upsert, values: [...values] });
    }
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

function statement(table: string, { insert, upsert }: Pick<Statement, 'insert' | 'upsert'>, rows: Rows, fresh: boolean): Statement[] {
  return rows.count === 0 ? [] : [{ name: `history-${table}`, insert, upsert, fresh, values: rows.finish() }];
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
