import { FsError } from './errno.ts';

/** Open files of one process; the kernel asks for far fewer. */
const MAX_HANDLES = 65_536;

/** Numbers for open files: never 0, and not reused soon, so that a late request never meets another file. */
export class Handles<T> {
  readonly #open = new Map<number, T>();
  #last = 0;

  /** Files that are open now. */
  get size(): number {
    return this.#open.size;
  }

  /** Registers an open file under a new number. @throws FsError ENFILE */
  add(make: (handle: number) => T): number {
    if (this.#open.size >= MAX_HANDLES) throw new FsError('ENFILE', `more than ${MAX_HANDLES} files are open`);
    do this.#last = this.#last >= 0x7fffffff ? 1 : this.#last + 1;
    while (this.#open.has(this.#last));
    this.#open.set(this.#last, make(this.#last));
    return this.#last;
  }

  /** The file behind a number. @throws FsError EBADF */
  get(handle: number): T {
    const file = this.#open.get(handle);
    if (file === undefined) throw new FsError('EBADF', `no open file ${handle}`);
    return file;
  }

  /** Forgets a file and returns it. */
  remove(handle: number): T | undefined {
    const file = this.#open.get(handle);
    this.#open.delete(handle);
    return file;
  }

  /** All open files. */
  values(): IterableIterator<T> {
    return this.#open.values();
  }
}
