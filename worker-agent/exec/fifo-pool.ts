import { execFileSync } from 'node:child_process';
import { closeSync, constants, existsSync, mkdtempSync, openSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const FIRST_BATCH = 32;
/** As many at once, however many there are: their paths are arguments of one program. */
const MAX_BATCH = 1024;
const PREFIX = 'triggerfs-worker-';
/** The owner reads and writes; other users (`workers.user`) may only write, for plugins that open /dev/stderr. */
const MODE = '0622';

/** The two ends of a named pipe. */
export interface FifoEnds {
  readonly path: string;
  /** Non-blocking, for this process. */
  readonly reader: number;
  /** Keeps the pipe from its end until a process has opened it. */
  readonly writer: number;
}

/**
 * Named pipes for the output of processes. Node.js itself gives children sockets, which cannot be opened again:
 * `echo oops > /dev/stderr` in a shell script would fail. A pipe is used again only after its end was read,
 * because then no process holds it any more.
 */
export class FifoPool {
  #folder: string;
  readonly #free: string[] = [];
  #made = 0;

  /** Makes the folder, and removes those of workers that were killed. */
  constructor() {
    removeLeftovers();
    this.#folder = makeFolder();
  }

  /**
   * Makes pipes for what will run at once, before anybody waits. Making them starts a program, and this process stands still
   * until that has ended: on a busy machine, some of that in a row is long enough for brokers to take the worker for dead.
   */
  prepare(count: number): void {
    try {
      if (count > this.#free.length) this.#make(Math.min(count - this.#free.length, MAX_BATCH));
    } catch {
      // A run that needs one fails with the reason.
    }
  }

  /** Opens a pipe. @throws Error of the system when it is out of descriptors or space */
  open(): FifoEnds {
    const path = this.#take();
    const reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      return { path, reader, writer: openSync(path, constants.O_WRONLY) };
    } catch (error) {
      closeSync(reader);
      this.#free.push(path);
      throw error;
    }
  }

  /** Gives back a pipe whose end was read and whose descriptors are closed. */
  release(path: string): void {
    this.#free.push(path);
  }

  /** Gives up a pipe that a process may still hold. */
  discard(path: string): void {
    rmSync(path, { force: true });
  }

  /** Removes all pipes. */
  close(): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }

  #take(): string {
    if (this.#free.length > 0 && !existsSync(this.#folder)) {
      // Somebody cleaned the folder for temporary files.
      this.#free.length = 0;
      this.#folder = makeFolder();
    }
    // Each time as many more as there are, so that a burst of runs waits a few times only.
    if (this.#free.length === 0) this.#make(Math.min(Math.max(this.#made, FIRST_BATCH), MAX_BATCH));
    return this.#free.pop() as string;
  }

  #make(count: number): void {
    const paths = Array.from({ length: count }, (_, index) => join(this.#folder, String(this.#made + index)));
    this.#made += count;
    execFileSync('mkfifo', ['-m', MODE, ...paths], { stdio: 'ignore' });
    this.#free.push(...paths);
  }
}

function makeFolder(): string {
  return mkdtempSync(join(tmpdir(), `${PREFIX}${process.pid}-`));
}

function removeLeftovers(): void {
  const folder = tmpdir();
  for (const name of readdirSync(folder)) {
    const pid = /^triggerfs-worker-(\d+)-/.exec(name)?.[1];
    if (pid !== undefined && !isAlive(Number(pid))) rmSync(join(folder, name), { recursive: true, force: true });
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
