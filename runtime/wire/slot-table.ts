const INDEX_BITS = 20;
const INDEX_MASK = (1 << INDEX_BITS) - 1;
const GENERATION_MASK = 0xfff;

/** Most entries a table can hold at once. */
export const SLOT_LIMIT: number = INDEX_MASK;

/**
 * Gives entries u32 numbers that fit into a record and finds them again without hashing.
 * A number holds the slot and its generation, so a late record for an entry that is gone finds nothing;
 * a number comes back only after its slot was used 4096 times. 0 is never given.
 */
export class SlotTable<T> {
  readonly #entries: (T | undefined)[] = [undefined];
  readonly #generations: number[] = [0];
  readonly #free: number[] = [];
  #size = 0;

  /** Entries held. */
  get size(): number {
    return this.#size;
  }

  /** Stores an entry and returns its number. @throws RangeError when the table holds SLOT_LIMIT entries */
  add(entry: T): number {
    let index = this.#free.pop();
    if (index === undefined) {
      index = this.#entries.length;
      if (index > INDEX_MASK) throw new RangeError(`more than ${SLOT_LIMIT} entries`);
      this.#generations.push(0);
      this.#entries.push(entry);
    } else {
      this.#entries[index] = entry;
    }
    this.#size += 1;
    return (((this.#generations[index] as number) << INDEX_BITS) | index) >>> 0;
  }

  /** The entry with this number, or undefined when it is gone or never was. */
  get(number: number): T | undefined {
    const index = number & INDEX_MASK;
    return this.#generations[index] === number >>> INDEX_BITS ? this.#entries[index] : undefined;
  }

  /** Removes the entry with this number; does nothing when it is gone. */
  remove(number: number): void {
    const index = number & INDEX_MASK;
    if (this.#generations[index] !== number >>> INDEX_BITS || this.#entries[index] === undefined) return;
    this.#entries[index] = undefined;
    this.#generations[index] = ((this.#generations[index] as number) + 1) & GENERATION_MASK;
    this.#free.push(index);
    this.#size -= 1;
  }

  /** All entries; adding and removing while iterating is allowed. */
  *values(): IterableIterator<T> {
    for (const entry of this.#entries) if (entry !== undefined) yield entry;
  }
}
