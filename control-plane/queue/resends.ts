import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from '../../runtime/logging.ts';
import { Backoff } from '../../runtime/wire/backoff.ts';
import type { Database } from '../database.ts';
import type { RunningItem } from './running-item.ts';

/** Losses that are heard of within this time share a statement: a broker takes many requests with it. */
const WINDOW_MS = 5;

/** Options of `Resends`. */
export interface ResendsOptions {
  /** As the role triggerfs_jobs. */
  readonly database: Pick<Database, 'rows'>;
  readonly log: Logger;
}

/**
 * Lets requests whose broker was lost go out again, each after the database has noted it: a worker may have begun what the lost
 * broker had, so every further send may be one more execution, and none may happen that nobody would know of if this process
 * ended now. What a later attempt has overtaken is not sent.
 */
export class Resends {
  readonly #options: ResendsOptions;
  readonly #pause = new Backoff(100, 2_000);
  #waiting = new Set<RunningItem>();
  #noting = false;
  #stopped = false;

  constructor(options: ResendsOptions) {
    this.#options = options;
  }

  /** The call of this item is held. */
  add(item: RunningItem): void {
    this.#waiting.add(item);
    if (!this.#noting) void this.#run();
  }

  /** Lets nothing go any more. */
  stop(): void {
    this.#stopped = true;
    this.#waiting.clear();
  }

  async #run(): Promise<void> {
    this.#noting = true;
    for (await sleep(WINDOW_MS); this.#waiting.size > 0; ) {
      const batch = [...this.#waiting].filter(({ call }) => call?.held === true);
      this.#waiting.clear();
      try {
        await this.#note(batch);
        this.#pause.reset();
      } catch (err) {
        if (this.#stopped) break;
        this.#options.log.warn({ err }, `${batch.length} requests of the queue wait for the database to be sent again`);
        for (const item of batch) this.#waiting.add(item);
        await sleep(this.#pause.next());
      }
    }
    this.#noting = false;
  }

  async #note(batch: readonly RunningItem[]): Promise<void> {
    if (batch.length === 0) return;
    const attempts = batch.map(({ claim }) => claim.attempt);
    const rows = await this.#options.database.rows<{ id: string }>('select id from triggerfs.queue_resent($1, $2, $3)', [
      batch.map(({ claim }) => claim.id),
      attempts,
      batch.map(({ call }) => (call?.sends ?? 0) + 1),
    ]);
    if (this.#stopped) return;
    const noted = new Set(rows.map(({ id }) => id));
    batch.forEach((item, index) => {
      if (noted.has(item.claim.id)) item.call?.resend();
      // The lease was lost and came back to this process meanwhile: once more, as that attempt.
      else if (item.claim.attempt !== attempts[index]) this.#waiting.add(item);
    });
  }
}
