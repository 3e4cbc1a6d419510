import { TriggerFsError } from '../../../protocol/errors.ts';
import { packText, unpackText } from '../../../runtime/packed-text.ts';
import { OutputText } from '../output-text.ts';
import type { KeptPiece } from './kept-output.ts';

/** How far a reader is within one run. */
export interface RunPlace {
  /** Next block. */
  readonly block: number;
  /** Pieces of that block that were read already; a gap counts as one. */
  readonly piece: number;
}

const START: RunPlace = { block: 0, piece: 0 };
const STREAMS = ['stdout', 'stderr'] as const;
const MAX_RUNS = 10_000;
/** Of PostgreSQL. */
const MAX_INTEGER = 2_147_483_647;
const HEAD = /^(\d{1,10})(?:(!)|(t)?(?:v(\d{1,5}))?)$/;
const RUN = /^(\d{1,10}\.\d{1,10})\.(\d{1,10})\.(\d{1,6})(?:o((?:[0-9a-f]{2}){1,3}))?(?:r((?:[0-9a-f]{2}){1,3}))?$/;

/**
 * What a reader of an accepted invocation has got: the attempt, and within it each run's next piece of output. As text it is the id of
 * an event, with which a reader goes on at any broker, without loss or repetition, because all of it counts from the tables.
 *
 * `ATTEMPT[t][vVERDICTS]` (`t`: the end of the output, in place of all of it) and `_WORKER.RUN.BLOCK.PIECE` for each run that has begun, with the bytes of characters that are not whole yet
 * (`o` of stdout, `r` of stderr); `ATTEMPT!` when all of it was read.
 */
export class KeptPosition {
  #attempt = -1;
  #verdicts = 0;
  #ended = false;
  #tail = false;
  readonly #runs = new Map<string, RunPlace>();
  readonly #workers = new Map<string, string>();
  readonly #texts = new Map<string, OutputText>();

  /** Attempt of the queue that is read; -1 before the first event. */
  get attempt(): number {
    return this.#attempt;
  }

  /** Verdicts of that attempt that were read. */
  get verdicts(): number {
    return this.#verdicts;
  }

  /** All of that attempt was read, `done` too. */
  get ended(): boolean {
    return this.#ended;
  }

  /** The end of the output was read, which the queue has where the history has nothing. */
  get tail(): boolean {
    return this.#tail;
  }

  /** By `WORKER.RUN`. */
  get runs(): ReadonlyMap<string, RunPlace> {
    return this.#runs;
  }

  /** Goes on with another attempt, from its beginning. */
  begin(attempt: number): void {
    this.#attempt = attempt;
    this.#verdicts = 0;
    this.#ended = false;
    this.#tail = false;
    this.#runs.clear();
    this.#texts.clear();
  }

  /** How far the reader is within a run. */
  of(run: string): RunPlace {
    return this.#runs.get(run) ?? START;
  }

  /** A piece was read; `last`: of its block. */
  advance({ run, worker, block, index, last }: Pick<KeptPiece, 'run' | 'worker' | 'block' | 'index' | 'last'>): void {
    this.#workers.set(run, worker);
    this.#runs.set(run, last ? { block: block + 1, piece: 0 } : { block, piece: index + 1 });
  }

  /** The text of a stream of a run, with what is left of a character from before. */
  text(run: string, stream: 'stdout' | 'stderr'): OutputText {
    const key = `${run} ${stream}`;
    const text = this.#texts.get(key) ?? new OutputText();
    this.#texts.set(key, text);
    return text;
  }

  /** Texts that end within a character. */
  *unfinished(): Generator<{ readonly run: string; readonly stream: 'stdout' | 'stderr'; readonly text: OutputText }> {
    for (const run of this.#runs.keys()) {
      for (const stream of STREAMS) {
        const text = this.#texts.get(`${run} ${stream}`);
        if (text !== undefined && text.rest !== '') yield { run, stream, text };
      }
    }
  }

  /** Identity of the worker of a run; undefined when nothing of it was read since the reader came. */
  worker(run: string): string | undefined {
    return this.#workers.get(run);
  }

  /** The end of the output was read. */
  tellTail(): void {
    this.#tail = true;
  }

  /** A verdict was read. */
  judged(): void {
    this.#verdicts += 1;
  }

  /** `done` was read. */
  end(): void {
    this.#ended = true;
  }

  toString(): string {
    if (this.#ended) return `${this.#attempt}!`;
    const head = `${this.#attempt}${this.#tail ? 't' : ''}${this.#verdicts === 0 ? '' : `v${this.#verdicts}`}`;
    return packText([head, ...[...this.#runs].map(([run, place]) => this.#format(run, place))].join('_'));
  }

  /** @throws TriggerFsError TFS_BAD_REQUEST when the text is no id of an event */
  static parse(text: string): KeptPosition {
    const position = new KeptPosition();
    if (text === '') return position;
    const [head = '', ...runs] = unpackText(text)?.split('_') ?? [];
    const [, attempt, ended, tail, verdicts] = HEAD.exec(head) ?? fail();
    position.#attempt = integer(attempt);
    position.#verdicts = integer(verdicts);
    position.#ended = ended !== undefined;
    position.#tail = tail !== undefined;
    if (runs.length > MAX_RUNS) fail();
    for (const run of runs) position.#read(run);
    return position;
  }

  #format(run: string, { block, piece }: RunPlace): string {
    const [out, err] = STREAMS.map((stream) => this.#texts.get(`${run} ${stream}`)?.rest ?? '');
    return `${run}.${block}.${piece}${out === '' ? '' : `o${out}`}${err === '' ? '' : `r${err}`}`;
  }

  #read(text: string): void {
    const [, run = '', block, piece, out, err] = RUN.exec(text) ?? fail();
    // What no row can have would only make statements fail, and those are shared with other readers.
    for (const number of run.split('.')) integer(number);
    this.#runs.set(run, { block: integer(block), piece: integer(piece) });
    for (const [index, rest] of [out, err].entries()) {
      if (rest !== undefined) this.#texts.set(`${run} ${STREAMS[index]}`, new OutputText(Buffer.from(rest, 'hex')));
    }
  }
}

function integer(text = '0'): number {
  const number = Number(text);
  return number > MAX_INTEGER ? fail() : number;
}

function fail(): never {
  throw new TriggerFsError('TFS_BAD_REQUEST', 'Last-Event-ID (or after) takes the id of an event of this invocation');
}
