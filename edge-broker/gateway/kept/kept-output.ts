import type { Pool } from 'pg';
import { outputAad, readBlock } from '../../../protocol/history-block.ts';
import { type KeyRing, open } from '../../../runtime/sealing/index.ts';
import { KeptPosition, type RunPlace } from './kept-position.ts';

/** A piece of kept output. */
export interface KeptPiece {
  /** `WORKER.ATTEMPT` of its run, by the worker's number. */
  readonly run: string;
  readonly worker: string;
  readonly attempt: number;
  readonly block: number;
  /** Its number within the block; a gap counts as one. */
  readonly index: number;
  /** The block has no more. */
  readonly last: boolean;
  readonly stream: 'stdout' | 'stderr';
  readonly sequence: number;
  /** Null: output is missing here. */
  readonly data: Buffer | null;
}

/** Where a reader is: `of` tells the next block of a run, and how many of its pieces it has. */
export interface OutputPosition {
  readonly runs: ReadonlyMap<string, RunPlace>;
  of(run: string): RunPlace;
  advance(piece: Pick<KeptPiece, 'run' | 'worker' | 'block' | 'index' | 'last'>): void;
}

interface BlockRow {
  /** Which of the requests of the statement it answers, from 1. */
  readonly request: number;
  readonly worker_id: number;
  readonly identity: string | null;
  readonly attempt: number;
  readonly block: number;
  readonly first_sequence: number;
  readonly gap: boolean;
  readonly data: Buffer;
}

interface Request {
  readonly teamId: number;
  readonly invocation: string;
  readonly position: OutputPosition;
  readonly resolve: (rows: readonly BlockRow[]) => void;
  readonly reject: (error: unknown) => void;
}

/** Blocks of up to 64 KiB that one statement reads, over all who ask; everybody gets one at least. */
const BLOCKS = 64;
const MAX_BLOCKS_EACH = 16;
const SQL = `select w.n::integer as request, o.worker_id, o.identity, o.attempt, o.block, o.first_sequence::float8, o.gap, o.data
  from unnest($1::integer[], $2::uuid[]) with ordinality as w (team_id, invocation_id, n)
  cross join lateral (
    select o.worker_id, r.identity, o.attempt, o.block, o.first_sequence, o.gap, o.data
    from triggerfs.outputs o
      left join triggerfs.runs r on r.invocation_id = o.invocation_id and r.worker_id = o.worker_id and r.attempt = o.attempt and r.day = o.day and r.team_id = o.team_id
      left join unnest($3::integer[], $4::integer[], $5::integer[], $6::integer[]) as k (n, worker_id, attempt, block)
        on k.n = w.n and k.worker_id = o.worker_id and k.attempt = o.attempt
    where o.team_id = w.team_id and o.invocation_id = w.invocation_id and o.block >= coalesce(k.block, 0)
    order by o.worker_id, o.attempt, o.block limit $7) o
  order by w.n, o.worker_id, o.attempt, o.block`;

/** Output of invocations from the history, in pieces as workers sent them. Who asks in the same moment shares a statement. */
export class KeptOutput {
  readonly #pool: Pick<Pool, 'query'>;
  readonly #keys: KeyRing;
  #waiting: Request[] = [];

  constructor(pool: Pick<Pool, 'query'>, keys: KeyRing) {
    this.#pool = pool;
    this.#keys = keys;
  }

  /** The next pieces of all runs at a position, which the reader moves on. Empty: there is no more at the moment. */
  async next(teamId: number, invocation: string, position: OutputPosition): Promise<KeptPiece[]> {
    const { promise, resolve, reject } = Promise.withResolvers<readonly BlockRow[]>();
    if (this.#waiting.length === 0) setImmediate(() => void this.#read(this.#waiting.splice(0)));
    this.#waiting.push({ teamId, invocation, position, resolve, reject });
    const pieces: KeptPiece[] = [];
    for (const row of await promise) {
      pieces.push(...(await this.#pieces(teamId, invocation, row, position)));
    }
    return pieces;
  }

  /** Whether the history has an invocation: `open` while more may be written, `ended`, or `none` (not written yet, not kept, or deleted). */
  async state(teamId: number, invocation: string): Promise<'none' | 'open' | 'ended'> {
    const text = 'select bool_or(verdict is not null) as ended from triggerfs.invocations where team_id = $1 and id = $2';
    const { rows } = await this.#pool.query<{ ended: boolean | null }>({ name: 'kept-state', text, values: [teamId, invocation] });
    const ended = rows[0]?.ended ?? null;
    return ended === null ? 'none' : ended ? 'ended' : 'open';
  }

  /** All of one stream, piece by piece. */
  async *bytes(teamId: number, invocation: string, stream: 'stdout' | 'stderr'): AsyncGenerator<Buffer, void, undefined> {
    const position = new KeptPosition();
    for (;;) {
      const pieces = await this.next(teamId, invocation, position);
      if (pieces.length === 0) return;
      for (const piece of pieces) {
        position.advance(piece);
        if (piece.data !== null && piece.stream === stream) yield piece.data;
      }
    }
  }

  /** Never rejects: each request has its own answer. */
  async #read(requests: readonly Request[]): Promise<void> {
    const known = requests.flatMap(({ position }, index) =>
      [...position.runs].map(([run, { block }]) => [index + 1, ...run.split('.').map(Number), block] as readonly number[]),
    );
    const column = (at: number): (number | undefined)[] => known.map((numbers) => numbers[at]);
    const each = Math.min(MAX_BLOCKS_EACH, Math.max(1, Math.floor(BLOCKS / requests.length)));
    try {
      const { rows } = await this.#pool.query<BlockRow>({
        name: 'kept-output',
        text: SQL,
        values: [requests.map(({ teamId }) => teamId), requests.map(({ invocation }) => invocation), ...[0, 1, 2, 3].map(column), each],
      });
      const answers = Map.groupBy(rows, ({ request }) => request);
      requests.forEach(({ resolve }, index) => void resolve(answers.get(index + 1) ?? []));
    } catch (error) {
      for (const { reject } of requests) reject(error);
    }
  }

  async #pieces(teamId: number, invocation: string, row: BlockRow, position: OutputPosition): Promise<KeptPiece[]> {
    const { worker_id, attempt, block, identity, gap } = row;
    const opened = await open(this.#keys, teamId, outputAad(teamId, invocation, worker_id, attempt, block), row.data);
    const missing = gap ? [{ stream: 'stdout' as const, sequence: row.first_sequence, data: null }] : [];
    const pieces = [...missing, ...readBlock(opened)];
    const run = `${worker_id}.${attempt}`;
    const place = position.of(run);
    const from = place.block === block ? place.piece : 0;
    const rest = pieces.slice(from).map(({ stream, sequence, data }, n): KeptPiece => {
      const index = from + n;
      return { run, worker: identity ?? '', attempt, block, index, last: index === pieces.length - 1, stream, sequence, data };
    });
    // A block that was read to its end by who did not know that.
    if (rest.length === 0) position.advance({ run, worker: identity ?? '', block, index: from, last: true });
    return rest;
  }
}
