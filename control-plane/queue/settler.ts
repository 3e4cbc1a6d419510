import { setTimeout as sleep } from 'node:timers/promises';
import type { QueueState } from '../../protocol/http/queue.ts';
import { answerAad, payloadAad } from '../../runtime/acceptance/new-item.ts';
import type { Logger } from '../../runtime/logging.ts';
import { byteaArray } from '../../runtime/postgres/bytea-array.ts';
import { seal, type TeamKeys } from '../../runtime/sealing/index.ts';
import { Backoff } from '../../runtime/wire/backoff.ts';
import { formatInvocationId, InvocationIds } from '../../runtime/wire/invocation-id.ts';
import type { Database, Transaction } from '../database.ts';
import { callbackAad } from './callbacks.ts';
import type { Ending, RunningItem } from './running-item.ts';

/** Endings that come within this time share a transaction. */
const WINDOW_MS = 3;
const MAX_ITEMS = 200;

/** An item that was settled, and the state it has now. */
export type Settled = (item: RunningItem, state: QueueState | null) => void;

/** Options of a settler. */
export interface SettlerOptions {
  /** As the role triggerfs_jobs. */
  readonly database: Database;
  readonly keys: TeamKeys;
  readonly log: Logger;
  /** Called after the commit; null: a later attempt had taken over. */
  readonly settled: Settled;
}

/** Writes how attempts ended, many in one transaction, together with what follows them. Goes on until the database takes it. */
export class Settler {
  readonly #options: SettlerOptions;
  readonly #ids = new InvocationIds();
  readonly #pause = new Backoff(100, 5_000);
  #waiting: RunningItem[] = [];
  #flushing: Promise<void> | null = null;
  #stopped = false;

  constructor(options: SettlerOptions) {
    this.#options = options;
  }

  /** Takes an item with its ending. */
  add(item: RunningItem): void {
    this.#waiting.push(item);
    this.#flushing ??= this.#run();
  }

  /** Writes what waits, or gives up when the database does not take it now: the next dispatcher asks the workers again. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#flushing;
  }

  async #run(): Promise<void> {
    await sleep(WINDOW_MS);
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.splice(0, MAX_ITEMS);
      try {
        const attempts = batch.map(({ claim }) => claim.attempt);
        const states = await this.#commit(batch);
        this.#pause.reset();
        batch.forEach((item, index) => {
          const state = states.get(item.claim.id) ?? null;
          // The lease was lost and came back to this process while the statement was on its way: once more, as that attempt.
          if (state === null && item.claim.attempt !== attempts[index]) this.#waiting.push(item);
          else this.#options.settled(item, state);
        });
      } catch (err) {
        this.#options.log.warn({ err }, `${batch.length} results of the queue wait for the database`);
        this.#waiting.unshift(...batch);
        if (this.#stopped) break;
        await sleep(this.#pause.next());
      }
    }
    this.#flushing = null;
  }

  async #commit(batch: readonly RunningItem[]): Promise<ReadonlyMap<string, QueueState>> {
    const outcomes = JSON.stringify(batch.map((item) => rowOf(item, item.ending as Ending)));
    const answers = byteaArray(await Promise.all(batch.map((item) => this.#answer(item))));
    const settle = async (tx: Pick<Transaction, 'rows'>): Promise<Map<string, QueueState>> => {
      const sql = 'select id, state from triggerfs.queue_settle($1, $2)';
      return new Map((await tx.rows<{ id: string; state: QueueState }>(sql, [outcomes, answers])).map(({ id, state }) => [id, state]));
    };
    const followed = batch.filter(({ claim }) => claim.on_success !== null || claim.on_failure !== null);
    if (followed.length === 0) return settle(this.#options.database);
    return this.#options.database.fleet(async (tx) => {
      const states = await settle(tx);
      for (const item of followed) await this.#follow(tx, item, states.get(item.claim.id));
      return states;
    });
  }

  /** Results of attempts that are followed by another are kept, too: they say why. */
  async #answer({ claim, ending }: RunningItem): Promise<Buffer | null> {
    if (claim.team === null) return null;
    const key = await this.#options.keys.current(claim.team_id);
    return seal(key, answerAad(claim.team_id, claim.id), Buffer.from(JSON.stringify((ending as Ending).result)));
  }

  async #follow(tx: Transaction, { claim, ending }: RunningItem, state: QueueState | undefined): Promise<void> {
    const follow = state === 'done' ? claim.on_success : state === 'dead' || state === 'expired' ? claim.on_failure : null;
    if (follow === null || claim.team === null) return;
    const id = formatInvocationId(this.#ids.next());
    const key = await this.#options.keys.current(claim.team_id);
    const { runs: _runs, durationMs: _durationMs, ...result } = (ending as Ending).result;
    const { service, plugin, attempt } = claim;
    const body = Buffer.from(JSON.stringify({ invocation: claim.id, team: claim.team, service, plugin, state, attempt, ...result }));
    if ('trigger' in follow) {
      const sealed = seal(key, payloadAad(claim.team_id, id), body);
      await tx.rows('select triggerfs.queue_follow($1, $2, $3, $4)', [claim.id, follow.trigger, id, sealed]);
    } else {
      const sealed = seal(key, callbackAad(claim.team_id, id), body);
      await tx.rows('select triggerfs.queue_callback($1, $2, $3, $4)', [claim.id, id, follow.callback, sealed]);
    }
  }
}

function rowOf({ claim, collector, call }: RunningItem, { outcome, decision, worker }: Ending): Record<string, unknown> {
  const { verdict, exitCode, error, detail } = outcome;
  return {
    id: claim.id,
    attempt: claim.attempt,
    verdict,
    exitCode,
    error,
    detail,
    worker: worker || collector.workers,
    sends: call?.sends ?? 0,
    ...decision,
  };
}
