import { TriggerFsError } from '../../protocol/errors.ts';
import { packText, unpackText } from '../../runtime/packed-text.ts';

/** How far a reader is within one run. */
export interface RunPosition {
  /** Next block. */
  readonly block: number;
  /** Pieces of that block that were read already. */
  readonly piece: number;
  /** Its verdict was read: nothing more comes. */
  readonly ended: boolean;
}

const START: RunPosition = { block: 0, piece: 0, ended: false };
/** Position after the very last event. */
const END = 'end';
const MAX_RUNS = 10_000;
/** Of PostgreSQL. */
const MAX_INTEGER = 2_147_483_647;
const RUN = /^(\d{1,10})\.(\d{1,10})(?:\.(\d{1,10})(?:\.(\d{1,6}))?|(!))$/;

/**
 * What a reader of a followed invocation has got: for each run the next piece of output, or that it ended. As text it is the cursor
 * that a reader resumes with at any control-plane, without loss or repetition, because all of it counts from the tables.
 *
 * `WORKER.ATTEMPT.BLOCK[.PIECE]` or `WORKER.ATTEMPT!` for each run that has begun, joined by `_`.
 */
export class Position {
  readonly #runs = new Map<string, RunPosition>();
  #ended = false;

  /** Everything was read, `done` too. */
  get ended(): boolean {
    return this.#ended;
  }

  /** Keys of the runs that have begun, `WORKER.ATTEMPT`. */
  get runs(): ReadonlyMap<string, RunPosition> {
    return this.#runs;
  }

  /** How far the reader is within a run. */
  of(worker: number, attempt: number): RunPosition {
    return this.#runs.get(`${worker}.${attempt}`) ?? START;
  }

  /** Goes on within a run. */
  advance(worker: number, attempt: number, to: RunPosition): void {
    this.#runs.set(`${worker}.${attempt}`, to);
  }

  /** The same, to go on from separately. */
  copy(): Position {
    const copy = new Position();
    for (const [key, at] of this.#runs) copy.#runs.set(key, at);
    copy.#ended = this.#ended;
    return copy;
  }

  /** Goes back to where another position is behind this one. */
  lowerTo(other: Position): void {
    for (const [key, at] of this.#runs) {
      const { block } = other.#runs.get(key) ?? START;
      if (block < at.block) this.#runs.set(key, { block, piece: 0, ended: false });
    }
  }

  /** Notes that `done` was read. */
  end(): void {
    this.#ended = true;
  }

  /** The cursor; empty before the first event. */
  toString(): string {
    if (this.#ended) return END;
    return packText([...this.#runs].map(([key, { block, piece, ended }]) => (ended ? `${key}!` : format(key, block, piece))).join('_'));
  }

  /** @throws TriggerFsError TFS_BAD_REQUEST when the text is no cursor */
  static parse(text: string): Position {
    const position = new Position();
    if (text === END) position.end();
    else if (text !== '') for (const run of unpack(text).split('_')) position.#read(run);
    return position;
  }

  #read(run: string): void {
    const match = RUN.exec(run);
    if (match === null) throw notACursor();
    const [worker, attempt, block, piece] = match.slice(1, 5).map((number) => Number(number ?? 0)) as [number, number, number, number];
    // What no row can have would only make statements fail, and those are shared with other readers.
    if (Math.max(worker, attempt, block) > MAX_INTEGER || this.#runs.size >= MAX_RUNS) throw notACursor();
    this.advance(worker, attempt, { block, piece, ended: match[5] !== undefined });
  }
}

function format(key: string, block: number, piece: number): string {
  return piece === 0 ? `${key}.${block}` : `${key}.${block}.${piece}`;
}

function unpack(text: string): string {
  const unpacked = unpackText(text);
  if (unpacked === null) throw notACursor();
  return unpacked;
}

function notACursor(): TriggerFsError {
  return new TriggerFsError('TFS_BAD_REQUEST', 'Last-Event-ID (or after) takes the id of an event of this output');
}
