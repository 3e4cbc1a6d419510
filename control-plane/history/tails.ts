import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from '../../runtime/logging.ts';
import type { Database } from '../database.ts';
import type { BlockRow } from './blocks.ts';
import type { HistoryMetrics } from './history-metrics.ts';
import type { Position } from './position.ts';
import { type Followed, markOf, type News, Tail, type TailReader } from './tail.ts';

/** At most four looks a second, however many follow. */
const PERIOD_MS = 250;
/** Blocks of one run and of all that one look brings: what comes faster is brought by the next ones. */
const BLOCKS_PER_RUN = 8;
const BLOCKS = 64;
const STOP_MS = 500;

interface FollowedRow extends BlockRow {
  readonly place: number;
  readonly ended: number | null;
  readonly found: boolean | null;
  readonly done: boolean | null;
}

/**
 * Looks for what is new in the history of all invocations that somebody at this control-plane follows: one statement for all of
 * them, and none while nobody waits.
 */
export class Tails {
  readonly #database: Database;
  readonly #log: Logger;
  readonly #metrics: HistoryMetrics | null;
  readonly #tails = new Map<string, Tail>();
  readonly #ending = new AbortController();
  #loop: Promise<void> | null = null;
  /** Who comes first takes turns, so that a loud invocation does not silence the others. */
  #turn = 0;

  /** `metrics`: null for none. */
  constructor(database: Database, log: Logger, metrics: HistoryMetrics | null) {
    this.#database = database;
    this.#log = log;
    this.#metrics = metrics;
  }

  /** Begins to follow; nothing that comes after this is missed. Leave with `leave`. */
  join(what: Followed): TailReader {
    // Readers of different runs have different positions, so they do not share.
    const key = `${what.teamId} ${what.id} ${what.worker ?? ''}`;
    let tail = this.#tails.get(key);
    if (tail === undefined) {
      const made = new Tail(
        what,
        () => this.#start(),
        () => {
          if (made.isEmpty) this.#tails.delete(key);
        },
      );
      tail = made;
      this.#tails.set(key, made);
    }
    return tail.join();
  }

  /** Wakes everybody who waits, for the end of the process. */
  async stop(): Promise<void> {
    this.#ending.abort();
    for (const tail of this.#tails.values()) tail.stop();
    // A look may wait for a database that does not answer.
    await Promise.race([this.#loop, sleep(STOP_MS, undefined, { ref: false })]);
  }

  #start(): void {
    if (this.#ending.signal.aborted) return;
    this.#loop ??= this.#run().finally(() => {
      this.#loop = null;
      // Somebody may have begun to wait between the last look and this.
      if (this.#waiting().length > 0) this.#start();
    });
  }

  async #run(): Promise<void> {
    const { signal } = this.#ending;
    for (let tails = this.#waiting(); tails.length > 0 && !signal.aborted; tails = this.#waiting()) {
      const pause = sleep(PERIOD_MS, undefined, { signal, ref: false }).catch(() => undefined);
      try {
        await this.#look(tails);
      } catch (err) {
        // The database is away: who follows waits for it.
        this.#log.debug({ err }, 'the history was not looked at');
      }
      await pause;
    }
  }

  /** Tails that somebody waits at, another one first each time. */
  #waiting(): Tail[] {
    const tails = [...this.#tails.values()].filter((tail) => tail.isAwaited);
    this.#turn += 1;
    const first = tails.length === 0 ? 0 : this.#turn % tails.length;
    return [...tails.slice(first), ...tails.slice(0, first)];
  }

  async #look(tails: readonly Tail[]): Promise<void> {
    const runs = tails.flatMap((tail, index) => runsOf(tail.position).map((run) => ({ place: index + 1, ...run })));
    const rows = await this.#database.rows<FollowedRow>(
      `select place, ended, found, done, worker_id as "workerId", worker, attempt, block, at, gap, data
       from triggerfs.followed_history($1, $2, $3, $4, $5, $6, $7, $8, $9, ${BLOCKS_PER_RUN}, ${BLOCKS})`,
      [
        tails.map((tail) => tail.what.teamId),
        tails.map((tail) => tail.what.id),
        tails.map((tail) => tail.what.worker),
        tails.map((tail) => tail.days.first),
        tails.map((tail) => tail.days.last),
        runs.map((run) => run.place),
        runs.map((run) => run.worker),
        runs.map((run) => run.attempt),
        runs.map((run) => run.block),
      ],
    );
    const news = tails.map((): { blocks: BlockRow[]; mark: string } => ({ blocks: [], mark: '' }));
    for (const row of rows) {
      const entry = news[row.place - 1];
      if (entry === undefined) continue;
      if (row.ended === null) {
        entry.blocks.push(row);
        this.#metrics?.seen(row.at);
      } else entry.mark = markOf(row.found === true, row.ended, row.done === true);
    }
    for (const [index, tail] of tails.entries()) tail.offer(news[index] as News);
  }
}

function runsOf(position: Position): { worker: number; attempt: number; block: number }[] {
  return [...position.runs].map(([key, { block }]) => {
    const [worker = 0, attempt = 0] = key.split('.').map(Number);
    return { worker, attempt, block };
  });
}
