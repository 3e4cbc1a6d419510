import type { BlockRow } from './blocks.ts';
import { type Days, daysOf } from './days.ts';
import { Position } from './position.ts';

/** What one look at a followed invocation brought. */
export interface News {
  /** Next blocks, in the order of each run. */
  readonly blocks: readonly BlockRow[];
  /** Changes when more than output has changed. */
  readonly mark: string;
}

/** What is followed. */
export interface Followed {
  readonly teamId: number;
  readonly id: string;
  /** Only the runs of this worker, in lower case. */
  readonly worker: string | null;
}

/** Whether a run on a worker is among those that are followed. */
export function isFollowed(wanted: string | null, worker: string): boolean {
  return wanted === null || wanted === worker.toLowerCase();
}

/** The mark of an invocation: whether it was found, how many of the runs that are followed have ended, and whether all of it has. */
export function markOf(found: boolean, endedRuns: number, done: boolean): string {
  return `${found}/${endedRuns}/${done}`;
}

/** What a reader gets: blocks that come next; `look`: into the tables, something else is new or was missed; or nothing in time. */
export type Awaited = readonly BlockRow[] | 'look' | 'idle';

/**
 * One who follows an invocation. A reader is busy (reading tables, or held up by whoever reads from it) or waiting. News are handed to
 * those who wait; the busy ones are told to look themselves, so nothing is kept for anybody.
 *
 *   busy ──next()──▶ waiting ──offer(), time──▶ busy
 *   busy ──offer()──▶ busy, and next() answers `look` at once
 */
export class TailReader {
  readonly #tail: Tail;
  #missed = false;
  #stopped = false;
  #waiting: { readonly mark: string; readonly resolve: (result: Awaited) => void } | null = null;

  constructor(tail: Tail) {
    this.#tail = tail;
  }

  get isWaiting(): boolean {
    return this.#waiting !== null;
  }

  /** The process ends, and so must the answer. */
  get isStopped(): boolean {
    return this.#stopped;
  }

  /** Forgets what was missed until now. Comes before reading from the tables. */
  catchUp(): void {
    this.#missed = false;
  }

  /** Waits for what comes after a position. `mark` is that of the reader's last look into the tables. */
  async next(position: Position, mark: string, waitMs: number): Promise<Awaited> {
    if (this.#missed || this.#stopped) return 'look';
    const { promise, resolve } = Promise.withResolvers<Awaited>();
    // Looks begin where the last of those who wait is; the others skip what they have.
    if (this.#tail.isAwaited) this.#tail.position.lowerTo(position);
    else this.#tail.position = position.copy();
    this.#waiting = { mark, resolve };
    this.#tail.awaited();
    const timer = setTimeout(resolve, waitMs, 'idle');
    const result = await promise;
    clearTimeout(timer);
    this.#waiting = null;
    return result;
  }

  /** Takes what one look brought. */
  offer({ blocks, mark }: News): void {
    if (this.#waiting === null) {
      this.#missed = true;
      return;
    }
    if (mark !== this.#waiting.mark) this.#waiting.resolve('look');
    else if (blocks.length > 0) this.#waiting.resolve(blocks);
  }

  /** Ends the wait for good. */
  stop(): void {
    this.#stopped = true;
    this.#waiting?.resolve('look');
  }

  /** Follows no longer. */
  leave(): void {
    this.stop();
    this.#tail.leave(this);
  }
}

/** The live end of one followed invocation, and those who follow it. */
export class Tail {
  readonly what: Followed;
  /** How far those who wait have got: where the next look begins. */
  position = new Position();
  readonly #readers = new Set<TailReader>();
  /** Called when somebody begins to wait. */
  readonly awaited: () => void;
  readonly #left: () => void;

  /** `awaited` is called when somebody begins to wait, `left` when somebody has left. */
  constructor(what: Followed, awaited: () => void, left: () => void) {
    this.what = what;
    this.awaited = awaited;
    this.#left = left;
  }

  /** Where to look. */
  get days(): Days {
    return daysOf(this.what.id, Date.now());
  }

  get isEmpty(): boolean {
    return this.#readers.size === 0;
  }

  get isAwaited(): boolean {
    return [...this.#readers].some((reader) => reader.isWaiting);
  }

  /** Adds a reader; what comes from now on is not missed. */
  join(): TailReader {
    const reader = new TailReader(this);
    this.#readers.add(reader);
    return reader;
  }

  leave(reader: TailReader): void {
    this.#readers.delete(reader);
    this.#left();
  }

  /** Hands news to those who wait. */
  offer(news: News): void {
    for (const { workerId, attempt, block } of news.blocks) {
      if (block >= this.position.of(workerId, attempt).block) {
        this.position.advance(workerId, attempt, { block: block + 1, piece: 0, ended: false });
      }
    }
    for (const reader of this.#readers) reader.offer(news);
  }

  /** Wakes all for the end of the process. */
  stop(): void {
    for (const reader of this.#readers) reader.stop();
  }
}
