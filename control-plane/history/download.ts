import type { KeyRing } from '../../runtime/sealing/index.ts';
import type { Database } from '../database.ts';
import { type BlockRow, openBlock } from './blocks.ts';
import type { ByteRange } from './byte-range.ts';
import type { Place, RunRow } from './repository.ts';

/** Blocks that are read at once: what one download holds in memory, about half a megabyte. */
const BLOCKS = 8;

/** What of an invocation's output is downloaded. */
export interface Selection {
  readonly place: Place;
  /** In the order in which their output is joined. */
  readonly runs: readonly RunRow[];
  /** Undefined: both, as they were mixed. */
  readonly stream: 'stdout' | 'stderr' | undefined;
}

/** How much of a run there was when the download began: what comes later does not move what is read. */
interface Extent {
  readonly run: RunRow;
  readonly blocks: number;
  readonly bytes: number;
  readonly gaps: number;
}

/**
 * The bytes of an invocation as they were written: run after run in the order in which the runs began, and within a run in the order
 * of arrival. One transaction for some blocks at a time, so a slow reader holds neither memory nor a connection.
 */
export class Download {
  readonly #database: Database;
  readonly #keys: KeyRing;
  readonly #selection: Selection;
  readonly #extents: readonly Extent[];

  private constructor(database: Database, keys: KeyRing, selection: Selection, extents: readonly Extent[]) {
    this.#database = database;
    this.#keys = keys;
    this.#selection = selection;
    this.#extents = extents;
  }

  /** Looks how much there is. */
  static async open(database: Database, keys: KeyRing, selection: Selection): Promise<Download> {
    const { place, runs } = selection;
    const rows = await database.inTeam(place.teamId, (tx) =>
      tx.rows<{ workerId: number; attempt: number; blocks: number; bytes: number; gaps: number }>(
        `select worker_id as "workerId", attempt, count(*)::integer as blocks, sum(bytes)::float8 as bytes,
           count(*) filter (where gap)::integer as gaps
         from triggerfs.outputs where team_id = $1 and invocation_id = $2 and day = $3::date group by worker_id, attempt`,
        [place.teamId, place.id, place.day],
      ),
    );
    const extents = runs.flatMap((run) => {
      const row = rows.find(({ workerId, attempt }) => workerId === run.workerId && attempt === run.attempt);
      return row === undefined ? [] : [{ run, blocks: row.blocks, bytes: row.bytes, gaps: row.gaps }];
    });
    return new Download(database, keys, selection, extents);
  }

  /** Places where output is missing. */
  get gaps(): number {
    return this.#extents.reduce((sum, { gaps }) => sum + gaps, 0);
  }

  /** Bytes of both streams. */
  get bytes(): number {
    return this.#extents.reduce((sum, { bytes }) => sum + bytes, 0);
  }

  /** Bytes of the selection. Of one stream they are counted, which opens every block. */
  async total(): Promise<number> {
    if (this.#selection.stream === undefined) return this.bytes;
    let total = 0;
    for await (const { data } of this.#pieces(0)) total += data.length;
    return total;
  }

  /** The bytes of a range of the selection. @throws TriggerFsError TFS_SEALED */
  async *read({ start, end }: ByteRange): AsyncGenerator<Buffer, void, undefined> {
    for await (const { at, data } of this.#pieces(start)) {
      if (at >= end) return;
      const part = data.subarray(Math.max(0, start - at), Math.min(data.length, end - at));
      if (part.length > 0) yield part;
    }
  }

  /** Pieces and where they begin. What is in front of `start` is skipped where sizes are known without opening blocks. */
  async *#pieces(start: number): AsyncGenerator<{ at: number; data: Buffer }, void, undefined> {
    const skips = this.#selection.stream === undefined;
    let at = 0;
    for (const extent of this.#extents) {
      if (skips && at + extent.bytes <= start) {
        at += extent.bytes;
        continue;
      }
      const first = skips && start > at ? await this.#blockAt(extent, start - at) : { block: 0, before: 0 };
      at += first.before;
      for await (const data of this.#piecesFrom(extent, first.block)) {
        yield { at, data };
        at += data.length;
      }
    }
  }

  async *#piecesFrom(extent: Extent, first: number): AsyncGenerator<Buffer, void, undefined> {
    const { place, stream } = this.#selection;
    for (let block = first; block < extent.blocks; block += BLOCKS) {
      for (const row of await this.#blocks(extent, block)) {
        for (const piece of await openBlock(this.#keys, place, row)) if (stream === undefined || piece.stream === stream) yield piece.data;
      }
    }
  }

  /** The block that holds a byte of a run, and the bytes before it. */
  async #blockAt({ run }: Extent, offset: number): Promise<{ block: number; before: number }> {
    const { place } = this.#selection;
    const [row] = await this.#database.inTeam(place.teamId, (tx) =>
      tx.rows<{ block: number; before: number }>(
        `select block, before from (
           select block, (sum(bytes) over (order by block) - bytes)::float8 as before from triggerfs.outputs
           where team_id = $1 and invocation_id = $2 and day = $3::date and worker_id = $4 and attempt = $5) o
         where before <= $6 order by block desc limit 1`,
        [place.teamId, place.id, place.day, run.workerId, run.attempt, offset],
      ),
    );
    return row ?? { block: 0, before: 0 };
  }

  #blocks({ run, blocks }: Extent, from: number): Promise<BlockRow[]> {
    const { place } = this.#selection;
    return this.#database.inTeam(place.teamId, (tx) =>
      tx.rows<BlockRow>(
        `select worker_id as "workerId", $8 as worker, attempt, block, at, gap, data from triggerfs.outputs
         where team_id = $1 and invocation_id = $2 and day = $3::date and worker_id = $4 and attempt = $5 and block >= $6 and block < $7
         order by block`,
        [place.teamId, place.id, place.day, run.workerId, run.attempt, from, Math.min(blocks, from + BLOCKS), run.worker],
      ),
    );
  }
}
