import { setTimeout as sleep } from 'node:timers/promises';
import type { Pool } from 'pg';
import type { Logger } from '../../runtime/logging.ts';

const ASK_MS = 1_000;
const REMIND_MS = 60_000;

/**
 * Waits for this broker's turn to drain, so that the brokers of a fleet go one after the other and the last one of a region only when
 * another is up again. The database decides (`triggerfs.take_maintenance_turn`); while it does not answer, nobody drains: a broker
 * could not start again without it.
 */
export class MaintenanceTurn {
  readonly #pool: Pool;
  readonly #brokerId: string;
  readonly #log: Logger;
  readonly #ending = new AbortController();

  constructor(pool: Pool, brokerId: string, log: Logger) {
    this.#pool = pool;
    this.#brokerId = brokerId;
    this.#log = log;
  }

  /** Resolves with true when the turn has come, with false when `stop` was called before. */
  async wait(maintenanceId: number): Promise<boolean> {
    const { signal } = this.#ending;
    for (let waited = 0; !signal.aborted; waited += ASK_MS) {
      if (await this.#ask(maintenanceId)) return !signal.aborted;
      if (waited % REMIND_MS === 0)
        this.#log.info('announced maintenance has begun: waiting until another broker is up and it is our turn');
      await sleep(ASK_MS, undefined, { signal, ref: false }).catch(() => undefined);
    }
    return false;
  }

  /** Waits no longer. */
  stop(): void {
    this.#ending.abort();
  }

  async #ask(maintenanceId: number): Promise<boolean> {
    try {
      const { rows } = await this.#pool.query<{ taken: boolean }>('select triggerfs.take_maintenance_turn($1, $2) as taken', [
        maintenanceId,
        this.#brokerId,
      ]);
      return rows[0]?.taken === true;
    } catch (err) {
      this.#log.debug({ err }, 'the turn in maintenance is not known');
      return false;
    }
  }
}
