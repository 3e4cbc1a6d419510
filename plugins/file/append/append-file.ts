import { closeSync, fstatSync, openSync, statSync, writeSync } from 'node:fs';

const NEWLINE = Buffer.from('\n');
/** How often at most the path is compared with the open file, to notice a rotation. */
const CHECK_MS = 100;
const MODE = 0o644;

interface Append {
  readonly data: Buffer;
  readonly done: () => void;
  readonly failed: (error: Error) => void;
}

/**
 * One file, kept open for appending. What is handed over in one go leaves in one write,
 * so that a burst of log lines costs one system call and lands in its order.
 */
export class AppendFile {
  readonly #path: string;
  #fd = -1;
  #inode = 0;
  #device = 0;
  #checkedAt = 0;
  #waiting: Append[] = [];

  constructor(path: string) {
    this.#path = path;
  }

  /** Appends exactly these bytes; resolves when the kernel has them. Rejects with the reason, such as a full disk. */
  append(payload: Buffer, newline: boolean): Promise<undefined> {
    const complete = !newline || payload[payload.length - 1] === NEWLINE[0];
    const data = complete ? payload : Buffer.concat([payload, NEWLINE]);
    return new Promise((resolve, failed) => {
      if (this.#waiting.length === 0) queueMicrotask(this.#flush);
      this.#waiting.push({ data, done: () => resolve(undefined), failed });
    });
  }

  /** Writes what waits, and closes the file. */
  close(): void {
    this.#flush();
    if (this.#fd >= 0) closeSync(this.#fd);
    this.#fd = -1;
  }

  readonly #flush = (): void => {
    const waiting = this.#waiting;
    if (waiting.length === 0) return;
    this.#waiting = [];
    let written = 0;
    try {
      this.#reopen();
      const all = waiting.length === 1 ? (waiting[0] as Append).data : Buffer.concat(waiting.map(({ data }) => data));
      while (written < all.length) written += writeSync(this.#fd, all, written);
      for (const { done } of waiting) done();
    } catch (error) {
      this.#fail(waiting, written, error as Error);
    }
  };

  /** Some of the bytes may have been written before a disk was full: their requests are done, the others failed. */
  #fail(waiting: readonly Append[], written: number, error: Error): void {
    let left = written;
    for (const { data, done, failed } of waiting) {
      if (left >= data.length && written > 0) done();
      else failed(new Error(`cannot append to ${this.#path}: ${error.message} (${Math.max(left, 0)} of ${data.length} bytes written)`));
      left -= data.length;
    }
  }

  #reopen(): void {
    const now = performance.now();
    if (this.#fd >= 0 && now - this.#checkedAt < CHECK_MS) return;
    this.#checkedAt = now;
    if (this.#fd >= 0) {
      const current = statSync(this.#path, { throwIfNoEntry: false });
      if (current !== undefined && current.ino === this.#inode && current.dev === this.#device) return;
      closeSync(this.#fd);
      this.#fd = -1;
    }
    this.#fd = openSync(this.#path, 'a', MODE);
    const opened = fstatSync(this.#fd);
    this.#inode = opened.ino;
    this.#device = opened.dev;
  }
}
