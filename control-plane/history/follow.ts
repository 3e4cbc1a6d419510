import { isUtf8 } from 'node:buffer';
import { setTimeout as sleep } from 'node:timers/promises';
import { ERRORS, type ErrorCode } from '../../protocol/errors.ts';
import type { HistoryEvent, HistoryItem } from '../../protocol/http/history.ts';
import type { KeyRing } from '../../runtime/sealing/index.ts';
import { type BlockRow, openBlock, type Piece } from './blocks.ts';
import type { Page } from './page.ts';
import type { Position } from './position.ts';
import { type QueuedInvocation, summaryOfQueued } from './queued.ts';
import { type InvocationRow, type RunRow, summaryOf } from './repository.ts';
import { markOf, type TailReader } from './tail.ts';

/** An event and where to go on after it; null: where the one before said. */
export interface FollowStep {
  readonly event: HistoryEvent;
  readonly cursor: string | null;
}

/** What there is of an invocation: a page of it, or what the queue knows while it waits for its turn, or when it never got one. */
export type Look = { readonly page: Page; readonly waits: null } | { readonly page: null; readonly waits: QueuedInvocation };

/** What a follower works with. Times are milliseconds. */
export interface FollowParts {
  readonly keys: KeyRing;
  readonly teamId: number;
  readonly id: string;
  /** Where to begin; the follower moves it. */
  readonly position: Position;
  /** Only this stream. */
  readonly stream: 'stdout' | 'stderr' | undefined;
  /** Reads what comes after a position; null when there is nothing (any more) that the reader may see. */
  readonly look: (position: Position) => Promise<Look | null>;
  /** Null: ends with what is there. */
  readonly tail: TailReader | null;
  /** Whether the reader still may read. */
  readonly admitted: () => Promise<boolean>;
  /** A sign of life after so much silence. */
  readonly pingMs: number;
  /** How often `admitted` is asked. */
  readonly checkMs: number;
}

const PING: FollowStep = { event: { event: 'ping' }, cursor: null };
const RETRY_MS = 1_000;

/**
 * Everything of an invocation as events, from a position on: output by its time, the verdict of a run after its output, then `done`.
 * It is pulled: nothing is read before the reader has taken what came before.
 *
 *   waiting ──it begins──▶ catching up ──all is read──▶ live ──something else than output, or missed──▶ catching up ──the end──▶ done
 */
export class Follow {
  readonly #parts: FollowParts;
  readonly #position: Position;
  /** State that the last `invocation` event told. */
  #told: HistoryItem['state'] | null = null;
  #mark = markOf(false, 0, false);
  #checkedAt = performance.now();
  #spokeAt = performance.now();

  constructor(parts: FollowParts) {
    this.#parts = parts;
    this.#position = parts.position;
  }

  /** The events; `first` is what was read at the position already. Ends without `done` when the process ends or the reader may read no longer. */
  async *events(first: Look): AsyncGenerator<FollowStep, void, undefined> {
    const { tail } = this.#parts;
    for (let look: Look | null = first; look !== null; look = yield* this.#look()) {
      if (look.page === null) yield* this.#queued(look.waits);
      else yield* this.#page(look.page);
      if (this.#position.ended) return;
      if (look.page?.more === true) continue;
      if (tail === null || !(yield* this.#live(tail))) return;
    }
  }

  /** Looks into the tables; while the database is away, it waits for it. */
  async *#look(): AsyncGenerator<FollowStep, Look | null, undefined> {
    const { tail, look } = this.#parts;
    for (;;) {
      if (tail?.isStopped === true || !(await this.#admitted())) return null;
      tail?.catchUp();
      try {
        return await look(this.#position);
      } catch (error) {
        if (tail === null) throw error;
      }
      yield* this.#ping();
      await sleep(RETRY_MS, undefined, { ref: false });
    }
  }

  async *#live(tail: TailReader): AsyncGenerator<FollowStep, boolean, undefined> {
    for (;;) {
      const news = await tail.next(this.#position, this.#mark, Math.min(this.#parts.checkMs, this.#parts.pingMs));
      if (tail.isStopped || !(await this.#admitted())) return false;
      if (news === 'look') return true;
      if (news === 'idle') {
        yield* this.#ping();
        continue;
      }
      for (const row of news) {
        const { block } = this.#position.of(row.workerId, row.attempt);
        if (row.block > block) return true;
        if (row.block === block) yield* this.#block(row);
      }
    }
  }

  async *#page({ invocation, runs, blocks, more }: Page): AsyncGenerator<FollowStep, void, undefined> {
    yield* this.#tell(summaryOf(invocation));
    for (const row of blocks) yield* this.#block(row);
    if (more) return;
    for (const run of runs) if (run.verdict !== null) yield* this.#verdict(run);
    this.#mark = markOf(true, runs.filter((run) => run.verdict !== null).length, invocation.verdict !== null);
    if (invocation.verdict === null) return;
    yield this.#done(invocation, runs);
  }

  *#queued(queued: QueuedInvocation): Generator<FollowStep, void, undefined> {
    yield* this.#tell(summaryOfQueued(queued));
    if (queued.state === 'done') yield this.#done(queued, []);
  }

  *#tell(item: HistoryItem): Generator<FollowStep, void, undefined> {
    if (this.#told === item.state || (this.#told === 'running' && item.state === 'done')) return;
    this.#told = item.state;
    yield { event: { event: 'invocation', ...item }, cursor: null };
  }

  /** What is left of a block. A gap counts as its first piece. */
  async *#block(row: BlockRow): AsyncGenerator<FollowStep, void, undefined> {
    const { keys, teamId, id, stream } = this.#parts;
    const pieces: (Piece | null)[] = [...(row.gap ? [null] : []), ...(await openBlock(keys, { teamId, id }, row))];
    const { piece: from } = this.#position.of(row.workerId, row.attempt);
    for (const [index, piece] of pieces.entries()) {
      if (index < from) continue;
      const last = index === pieces.length - 1;
      this.#advance(row, last ? row.block + 1 : row.block, last ? 0 : index + 1);
      if (piece === null) yield this.#step({ event: 'gap', worker: row.worker, attempt: row.attempt, at: row.at.toISOString() });
      else if (stream === undefined || piece.stream === stream) yield this.#step(outputOf(row, piece));
    }
    this.#advance(row, row.block + 1, 0);
  }

  *#verdict(run: RunRow): Generator<FollowStep, void, undefined> {
    const { block, ended } = this.#position.of(run.workerId, run.attempt);
    if (ended) return;
    this.#position.advance(run.workerId, run.attempt, { block, piece: 0, ended: true });
    yield this.#step({
      event: 'verdict',
      worker: run.worker,
      verdict: run.verdict ?? 'failed',
      exitCode: run.exitCode ?? 0,
      signal: run.signal ?? 0,
      attempt: run.attempt,
      durationMs: run.durationMs ?? 0,
      error: run.error,
      detail: run.detail,
    });
  }

  #done({ verdict, exitCode, error, detail, durationMs }: InvocationRow | QueuedInvocation, runs: readonly RunRow[]): FollowStep {
    this.#position.end();
    return this.#step({
      event: 'done',
      verdict: verdict ?? 'failed',
      exitCode: exitCode ?? 0,
      runs: runs.filter((run) => run.worker !== '').length,
      durationMs: durationMs ?? 0,
      error,
      detail,
      hint: error !== null && Object.hasOwn(ERRORS, error) ? ERRORS[error as ErrorCode].hint : null,
    });
  }

  #advance({ workerId, attempt }: BlockRow, block: number, piece: number): void {
    this.#position.advance(workerId, attempt, { block, piece, ended: false });
  }

  *#ping(): Generator<FollowStep, void, undefined> {
    if (performance.now() - this.#spokeAt < this.#parts.pingMs) return;
    this.#spokeAt = performance.now();
    yield PING;
  }

  #step(event: HistoryEvent): FollowStep {
    this.#spokeAt = performance.now();
    return { event, cursor: this.#position.toString() };
  }

  /** Asks at most once in a while. */
  async #admitted(): Promise<boolean> {
    const now = performance.now();
    if (now - this.#checkedAt < this.#parts.checkMs) return true;
    this.#checkedAt = now;
    return this.#parts.admitted();
  }
}

function outputOf({ worker, attempt }: BlockRow, { stream, sequence, at, data }: Piece): HistoryEvent {
  const body = isUtf8(data) ? { data: data.toString('utf8') } : { data: data.toString('base64'), encoding: 'base64' as const };
  return { event: 'output', worker, attempt, stream, sequence, at: at.toISOString(), ...body };
}
