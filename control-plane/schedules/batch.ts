const WINDOW_MS = 5;

/** Collects numbers that come within a few milliseconds, so that one statement does for all. */
export class Batch {
  readonly #work: (ids: readonly number[]) => Promise<void>;
  #ids = new Set<number>();
  #done: Promise<void> | null = null;

  constructor(work: (ids: readonly number[]) => Promise<void>) {
    this.#work = work;
  }

  /** Ends, or fails, with the batch that the number goes with. */
  add(id: number): Promise<void> {
    this.#ids.add(id);
    this.#done ??= new Promise((resolve, reject) => {
      setTimeout(() => this.#take().then(resolve, reject), WINDOW_MS);
    });
    return this.#done;
  }

  #take(): Promise<void> {
    const ids = [...this.#ids];
    this.#ids = new Set();
    this.#done = null;
    return this.#work(ids);
  }
}
