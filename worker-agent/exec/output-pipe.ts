import { closeSync } from 'node:fs';
import { Socket } from 'node:net';
import type { FifoEnds, FifoPool } from './fifo-pool.ts';

const READ_BYTES = 64 * 1024;

/** All pipes read into the same bytes: what arrives is handled before the next read. */
const shared = Buffer.allocUnsafeSlow(READ_BYTES);

/** What happens on a pipe. */
export interface OutputEvents {
  /** Bytes, valid only during the call. Return false to stop reading until `resume`. */
  data(source: Buffer, length: number): boolean;
  /** No more bytes will come, and nobody holds the other end. */
  end(): void;
}

/** Reads what a process prints. */
export class OutputPipe {
  readonly #pool: FifoPool;
  readonly #ends: FifoEnds;
  #socket: Socket | null = null;
  #paused = false;
  #ended = false;

  /** @throws Error of the system when it is out of descriptors */
  constructor(pool: FifoPool) {
    this.#pool = pool;
    this.#ends = pool.open();
  }

  /** Where the process's end is opened. */
  get path(): string {
    return this.#ends.path;
  }

  /** The end was read. */
  get ended(): boolean {
    return this.#ended;
  }

  /** Reading is held back. */
  get paused(): boolean {
    return this.#paused;
  }

  /** Begins to read, after the process has opened its end; until then one stays open here, or the pipe would seem at its end. */
  read(events: OutputEvents): void {
    closeSync(this.#ends.writer);
    const callback = (length: number): boolean => {
      this.#paused = !events.data(shared, length);
      return !this.#paused;
    };
    this.#socket = new Socket({ fd: this.#ends.reader, readable: true, writable: false, onread: { buffer: shared, callback } });
    this.#socket.on('end', () => {
      this.#ended = true;
      events.end();
    });
    this.#socket.on('close', () => this.#returnPipe());
    // A pipe that cannot be read any more has ended; there is nobody to ask for its bytes again.
    this.#socket.on('error', () => this.close());
  }

  /** Goes on reading. */
  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.#socket?.resume();
  }

  /** Stops reading for good, although a process may still hold the other end. */
  close(): void {
    this.#socket?.destroy();
  }

  /** Gives the pipe back unused: the child could not be started. */
  abandon(): void {
    closeSync(this.#ends.writer);
    closeSync(this.#ends.reader);
    this.#pool.release(this.#ends.path);
  }

  #returnPipe(): void {
    if (this.#ended) this.#pool.release(this.#ends.path);
    else this.#pool.discard(this.#ends.path);
  }
}
