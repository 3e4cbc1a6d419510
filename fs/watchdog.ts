import { Worker } from 'node:worker_threads';
import { siblingModule } from './sibling-module.ts';

const BEAT_MS = 500;
/** Operations of the mount are answered within 15 s or not at all. */
const LIMIT_SECONDS = 15;

/**
 * Ends this process when its event loop hangs: callers of the mount would hang with it, and only the end of the process
 * frees them. The supervisor starts another one. A thread of its own watches, because a hung loop notices nothing.
 */
export class Watchdog {
  readonly #worker: Worker;
  readonly #timer: NodeJS.Timeout;

  private constructor(worker: Worker, beats: Int32Array) {
    this.#worker = worker;
    this.#timer = setInterval(() => Atomics.add(beats, 0, 1), BEAT_MS);
    this.#timer.unref();
  }

  /** Starts watching; a loop that hangs for `limitSeconds` (whole seconds) ends the process with SIGKILL. */
  static start(limitSeconds = LIMIT_SECONDS): Watchdog {
    const shared = new SharedArrayBuffer(4);
    const worker = new Worker(siblingModule(import.meta.url, 'watchdog-thread'), { workerData: { shared, limitSeconds } });
    worker.unref();
    return new Watchdog(worker, new Int32Array(shared));
  }

  /** Stops watching. */
  stop(): void {
    clearInterval(this.#timer);
    void this.#worker.terminate();
  }
}
