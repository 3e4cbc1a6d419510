const MIB = 1024 * 1024;

/** Memory that waiting history may take, in bytes. While the database works, output in flight may come on top of it. */
export const HISTORY_LIMIT_BYTES = 64 * MIB;

/** Counters of the history; metrics read them. */
export interface HistoryCounters {
  invocations: number;
  runs: number;
  outputs: number;
  /** Output bytes that are missing from the history, while the database did not answer. */
  droppedBytes: number;
  /** Invocations that are missing from it. */
  droppedInvocations: number;
}

/**
 * How much of the history waits in memory, and what follows from that:
 *
 *   working ──high water──▶ congested (readers' credit is held back) ──limit──▶ full (new requests are refused)
 *   failing: the database does not answer. Nothing is held back; output is dropped above a part of the limit, rows above the whole.
 */
export class HistoryBudget {
  readonly counters: HistoryCounters = { invocations: 0, runs: 0, outputs: 0, droppedBytes: 0, droppedInvocations: 0 };
  /** Bytes that wait. */
  buffered = 0;
  /** The database did not take the last flush. */
  failing = false;
  readonly #limit: number;
  #congested = false;

  constructor(limitBytes: number) {
    this.#limit = limitBytes;
  }

  /** More waits than should: whoever produces output has to wait as well. */
  get congested(): boolean {
    if (this.failing) return false;
    const mark = this.#congested ? this.#limit / 8 : this.#limit / 4;
    this.#congested = this.buffered > mark;
    return this.#congested;
  }

  /** Nothing more may be accepted until the database has caught up. */
  get full(): boolean {
    return !this.failing && this.buffered > this.#limit;
  }

  /** Output is dropped. */
  get dropsOutput(): boolean {
    return this.failing && this.buffered > (this.#limit * 3) / 4;
  }

  /** Whole invocations are dropped. */
  get dropsRows(): boolean {
    return this.failing && this.buffered > this.#limit;
  }
}
