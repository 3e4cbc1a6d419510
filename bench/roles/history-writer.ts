import { randomBytes, randomUUID } from 'node:crypto';
import pg from 'pg';
import { Directory } from '../../edge-broker/directory/directory.ts';
import { HISTORY_LIMIT_BYTES } from '../../edge-broker/history/budget.ts';
import { InvocationRecord, RunRecord } from '../../edge-broker/history/history-records.ts';
import type { HistoryRule } from '../../edge-broker/history/history-rule.ts';
import { HistoryWriter } from '../../edge-broker/history/history-writer.ts';
import { TeamSecrets } from '../../edge-broker/history/team-secrets.ts';
import { historyDay } from '../../protocol/history-block.ts';
import type { RunVerdict } from '../../protocol/outcome.ts';
import { silentLogger } from '../../runtime/logging.ts';
import { BinaryArray, ElementType } from '../../runtime/postgres/binary-array.ts';
import { MasterKey, TeamKeys } from '../../runtime/sealing/index.ts';
import { InvocationIds } from '../../runtime/wire/invocation-id.ts';
import type { Role } from './role.ts';

/** Where chunks of output go to. */
export interface HistoryTarget {
  readonly databaseUrl: string;
  readonly masterKey: string;
  readonly team: number;
}

/** What a writer is asked to store as fast as it can. */
export interface HistoryCommand {
  /** `sealed`: the history of a broker. `bare`: a row for each chunk into a plain table, with nothing else done. */
  readonly how: 'sealed' | 'bare';
  readonly ms: number;
  readonly runs: number;
  readonly bytes: number;
  /** Each chunk is an invocation of its own. */
  readonly single: boolean;
}

/** What was stored, and the time until the last of it was there. */
export interface HistoryFigures {
  readonly chunks: number;
  readonly chunksPerSecond: number;
  readonly rowsPerSecond: number;
}

const VERDICT: RunVerdict = {
  worker: 'bench',
  verdict: 'ok',
  exitCode: 0,
  signal: 0,
  attempt: 0,
  durationUs: 1000,
  error: null,
  detail: '',
};
const BARE_ROWS = 5_000;
const FEED_CHUNKS = 1_000;

/** Stores chunks without the rest of a broker around it: what is left is the cost of storing. */
export async function start({ databaseUrl, masterKey, team }: HistoryTarget): Promise<Role> {
  const pool = new pg.Pool({ connectionString: databaseUrl, max: 2 });
  const keys = new TeamKeys(pool, await MasterKey.load(masterKey, pool));
  await pool.query(
    'create table if not exists bench_chunks (id uuid, sequence integer, at timestamptz, data bytea, primary key (id, sequence))',
  );
  const log = silentLogger();
  const secrets = new TeamSecrets(keys, new Directory(pool, log), log);
  return {
    call: async (command) => {
      const wanted = command as HistoryCommand;
      await pool.query('truncate bench_chunks, triggerfs.outputs, triggerfs.runs, triggerfs.invocations');
      if (wanted.how === 'bare') return storeBare(pool, wanted);
      const writer = new HistoryWriter({ pool, brokerId: randomUUID(), secrets, log, limitBytes: HISTORY_LIMIT_BYTES });
      return storeSealed(writer, team, wanted);
    },
    stop: () => pool.end(),
  };
}

async function storeSealed(
  writer: HistoryWriter,
  team: number,
  { ms, runs: count, bytes, single }: HistoryCommand,
): Promise<HistoryFigures> {
  const maker = new Maker(writer, team);
  const chunk = Buffer.alloc(bytes, 'All work and no play makes a dull log. ');
  let runs: RunRecord[] = Array.from({ length: count }, () => maker.begin());
  const started = performance.now();
  let chunks = 0;
  while (performance.now() - started < ms) {
    if (writer.budget.congested) {
      await relief(writer);
      continue;
    }
    const now = Date.now();
    for (let i = 0; i < FEED_CHUNKS; i += 1) {
      const run = runs[chunks % count] as RunRecord;
      const before = run.output.memory;
      run.output.append(false, chunks, now, chunk, 0, chunk.length);
      writer.outputAdded(run, run.output.memory - before);
      if (single) {
        maker.end(run, now);
        runs[chunks % count] = maker.begin();
      }
      chunks += 1;
    }
    await new Promise((resolve) => setImmediate(resolve));
  }
  for (const run of runs) maker.end(run, Date.now());
  runs = [];
  await writer.stop();
  const seconds = (performance.now() - started) / 1000;
  const { counters, buffered } = writer.budget;
  if (buffered > 0 || counters.droppedBytes > 0)
    throw new Error(`${buffered} bytes were not stored, ${counters.droppedBytes} were dropped`);
  const rows = counters.outputs + counters.runs + counters.invocations;
  return { chunks, chunksPerSecond: chunks / seconds, rowsPerSecond: rows / seconds };
}

function relief(writer: HistoryWriter): Promise<void> {
  return new Promise((resolve) => {
    writer.relieved = () => {
      if (!writer.budget.congested) resolve();
    };
  });
}

/** Makes records as the recorder of a broker does. */
class Maker {
  readonly #writer: HistoryWriter;
  readonly #rule: HistoryRule;
  readonly #ids = new InvocationIds();

  constructor(writer: HistoryWriter, teamId: number) {
    this.#writer = writer;
    const base = { level: 'output', teamId, source: 'client', caller: 'bench', service: 'bench', plugin: 'chatter' } as const;
    this.#rule = { ...base, algorithm: 'roundrobin', trigger: null, schedule: null, item: null, args: '{}' };
  }

  begin(): RunRecord {
    const id = this.#ids.next();
    const now = Date.now();
    const invocation = new InvocationRecord({
      rule: this.#rule,
      id,
      day: historyDay(id, now),
      payload: null,
      payloadBytes: 0,
      timeoutMs: 30_000,
      deadline: now + 30_000,
      expected: 1,
      acceptedAt: now,
      resumed: false,
    });
    this.#writer.invocationChanged(invocation);
    const run = new RunRecord(invocation, { workerId: 1, identity: 'bench', attempt: 0, startedAt: now, repeated: false });
    this.#writer.runChanged(run);
    return run;
  }

  end(run: RunRecord, now: number): void {
    run.verdict = VERDICT;
    run.endedAt = now;
    this.#writer.runChanged(run);
    run.invocation.outcome = { verdict: 'ok', exitCode: 0, runs: 1, error: null, detail: '' };
    run.invocation.endedAt = now;
    this.#writer.invocationChanged(run.invocation);
  }
}

async function storeBare(pool: pg.Pool, { ms, runs, bytes }: HistoryCommand): Promise<HistoryFigures> {
  const ids = Array.from({ length: runs }, () => randomBytes(16));
  const chunk = Buffer.alloc(bytes, 'All work and no play makes a dull log. ');
  const client = await pool.connect();
  const started = performance.now();
  let chunks = 0;
  while (performance.now() - started < ms) {
    const { uuid, int4, timestamptz, bytea } = ElementType;
    const [id, sequence, at, data] = [new BinaryArray(uuid), new BinaryArray(int4), new BinaryArray(timestamptz), new BinaryArray(bytea)];
    for (let i = 0; i < BARE_ROWS; i += 1, chunks += 1) {
      id.uuid(ids[chunks % runs] as Buffer);
      sequence.int4(chunks);
      at.timestamptz(Date.now());
      data.bytea(chunk);
    }
    await client.query('begin; set local synchronous_commit = off');
    await client.query({
      name: 'bare',
      text: 'insert into bench_chunks select * from unnest($1::uuid[], $2::integer[], $3::timestamptz[], $4::bytea[])',
      values: [id.finish(), sequence.finish(), at.finish(), data.finish()],
    });
    await client.query('commit');
  }
  const seconds = (performance.now() - started) / 1000;
  client.release();
  return { chunks, chunksPerSecond: chunks / seconds, rowsPerSecond: chunks / seconds };
}
