const COMPACT_AT = 1024;

/** A first-in first-out queue with constant-time ends; removing from the middle is left to the entries themselves. */
export class Fifo<T> {
  #items: T[] = [];
  #head = 0;

  /** Entries waiting. */
  get length(): number {
    return this.#items.length - this.#head;
  }

  /** Appends an entry. */
  push(item: T): void {
    this.#items.push(item);
  }

  /** The oldest entry without taking it. */
  peek(): T | undefined {
    return this.#items[this.#head];
  }

  /** Takes the oldest entry. */
  shift(): T | undefined {
    if (this.length === 0) return undefined;
    const item = this.#items[this.#head] as T;
    this.#head += 1;
    if (this.#head >= COMPACT_AT && this.#head * 2 >= this.#items.length) {
      this.#items = this.#items.slice(this.#head);
      this.#head = 0;
    }
    return item;
  }

  /** Keeps only the entries that satisfy the condition. */
  retain(keep: (item: T) => boolean): void {
    this.#items = this.#items.slice(this.#head).filter(keep);
    this.#head = 0;
  }

  /** Entries in order. */
  *[Symbol.iterator](): IterableIterator<T> {
    for (let i = this.#head; i < this.#items.length; i += 1) yield this.#items[i] as T;
  }
}
