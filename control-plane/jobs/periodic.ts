import type { Logger } from '../../runtime/logging.ts';

/** What is done again and again. */
export interface PeriodicOptions {
  /** From the end of one turn to the start of the next. */
  readonly everyMs: number;
  /** A turn that throws is logged and comes again: mostly the database is away, and nothing is forgotten meanwhile. */
  readonly turn: () => Promise<void>;
  /** Logged when a turn throws. */
  readonly failure: string;
  readonly log: Logger;
}

/** Does something at once and then periodically, one turn at a time, in the background. It holds no process open. */
export class Periodic {
  readonly #options: PeriodicOptions;
  #loop: Promise<void> | null = null;
  #stopped = false;
  #hurried = false;
  /** Ends the pause between two turns. */
  #wake: () => void = () => undefined;

  constructor(options: PeriodicOptions) {
    this.#options = options;
  }

  /** Starts in the background; a second call does nothing. */
  start(): void {
    this.#loop ??= this.#run();
  }

  /** The next turn comes at once; one more when a turn is under way. */
  hurry(): void {
    this.#hurried = true;
    this.#wake();
  }

  /** No turn begins any more; waits for one that is under way. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#wake();
    await this.#loop;
  }

  async #run(): Promise<void> {
    const { turn, failure, log } = this.#options;
    while (!this.#stopped) {
      this.#hurried = false;
      try {
        await turn();
      } catch (err) {
        log.debug({ err }, failure);
      }
      if (!this.#stopped && !this.#hurried) await this.#pause();
    }
  }

  #pause(): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, this.#options.everyMs).unref();
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
