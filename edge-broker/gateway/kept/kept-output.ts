import type { Pool } from 'pg';
import { outputAad, readBlock } from '../../../protocol/history-block.ts';
import { type KeyRing, open } from '../../../runtime/sealing/index.ts';

/** How far the output of each run was read: the last block by `worker.attempt`. */
export type OutputPosition = Map<string, number>;

/** A piece of kept output. */
export interface KeptPiece {
  readonly worker: string;
  readonly attempt: number;
  readonly block: number;
  /** Output before this piece is missing. */
  readonly gap: boolean;
  readonly stream: 'stdout' | 'stderr';
  readonly sequence: number;
  readonly data: Buffer;
}

interface BlockRow {
  readonly worker_id: number;
  readonly identity: string | null;
  readonly attempt: number;
  readonly block: number;
  readonly gap: boolean;
  readonly data: Buffer;
}

/** Blocks that are read at once: up to 1 MiB of output. */
const BLOCKS = 16;
// The first attempt of a run begins with block 0; those that were read are left out by run.
const SQL = `select o.worker_id, r.identity, o.attempt, o.block, o.gap, o.data
  from triggerfs.outputs o
    left join triggerfs.runs r on r.invocation_id = o.invocation_id and r.worker_id = o.worker_id and r.attempt = o.attempt and r.day = o.day
    left join unnest($3::integer[], $4::integer[], $5::integer[]) as k (worker_id, attempt, block)
      on k.worker_id = o.worker_id and k.attempt = o.attempt
  where o.team_id = $1 and o.invocation_id = $2 and o.block > coalesce(k.block, -1)
  order by o.worker_id, o.attempt, o.block limit ${BLOCKS}`;

/** Output of invocations from the history, in pieces as workers sent them. */
export class KeptOutput {
  readonly #pool: Pick<Pool, 'query'>;
  readonly #keys: KeyRing;

  constructor(pool: Pick<Pool, 'query'>, keys: KeyRing) {
    this.#pool = pool;
    this.#keys = keys;
  }

  /** The next pieces of all runs after a position, which is moved on. Empty: there is no more at the moment. */
  async next(teamId: number, invocation: string, position: OutputPosition): Promise<KeptPiece[]> {
    const known = [...position].map(([run, block]) => [...run.split('.').map(Number), block]);
    const column = (index: number): number[] => known.map((numbers) => numbers[index] as number);
    const { rows } = await this.#pool.query<BlockRow>({
      name: 'kept-output',
      text: SQL,
      values: [teamId, invocation, column(0), column(1), column(2)],
    });
    const pieces: KeptPiece[] = [];
    for (const row of rows) {
      const aad = outputAad(teamId, invocation, row.worker_id, row.attempt, row.block);
      const block = await open(this.#keys, teamId, aad, row.data);
      let { gap } = row;
      for (const { stream, sequence, data } of readBlock(block)) {
        pieces.push({ worker: row.identity ?? '', attempt: row.attempt, block: row.block, gap, stream, sequence, data });
        gap = false;
      }
      position.set(`${row.worker_id}.${row.attempt}`, row.block);
    }
    return pieces;
  }

  /** All of one stream, piece by piece. */
  async *bytes(teamId: number, invocation: string, stream: 'stdout' | 'stderr'): AsyncGenerator<Buffer, void, undefined> {
    const position: OutputPosition = new Map();
    for (;;) {
      const pieces = await this.next(teamId, invocation, position);
      if (pieces.length === 0) return;
      for (const piece of pieces) if (piece.stream === stream) yield piece.data;
    }
  }
}
