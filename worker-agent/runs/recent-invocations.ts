/** Returned when an invocation is not known. */
export const UNKNOWN = -1;

const ID_WORDS = 4;

/**
 * The invocations that this worker has seen lately, with what became of them: a ring of fixed size
 * over a hash table in typed arrays, so that a lookup and an entry cost no garbage.
 * Entries with a live value are never overwritten; of the others the oldest goes first.
 */
export class RecentInvocations<T> {
  readonly #capacity: number;
  readonly #ids: Uint32Array;
  readonly #callers: Uint32Array;
  readonly #attempts: Uint32Array;
  /** Position of the first entry of each bucket, plus one; 0 is an empty bucket. */
  readonly #heads: Uint32Array;
  readonly #next: Uint32Array;
  readonly #used: Uint8Array;
  readonly #places: Float64Array;
  readonly #values: (T | undefined)[];
  #cursor = 0;

  /** `capacity`: a power of two, larger than the number of live values can ever be. */
  constructor(capacity: number) {
    this.#capacity = capacity;
    this.#ids = new Uint32Array(capacity * ID_WORDS);
    this.#callers = new Uint32Array(capacity);
    this.#attempts = new Uint32Array(capacity);
    this.#heads = new Uint32Array(capacity);
    this.#next = new Uint32Array(capacity);
    this.#used = new Uint8Array(capacity);
    this.#places = new Float64Array(capacity);
    this.#values = new Array(capacity);
  }

  /** Entry of the caller's invocation whose 16 bytes stand in `source` at `at`, the newest one; UNKNOWN when there is none. */
  find(caller: number, source: Buffer, at: number): number {
    const a = source.readUInt32LE(at);
    const b = source.readUInt32LE(at + 4);
    const c = source.readUInt32LE(at + 8);
    const d = source.readUInt32LE(at + 12);
    const ids = this.#ids;
    for (let link = this.#heads[this.#bucket(a, b, c, d)] as number; link !== 0; link = this.#next[link - 1] as number) {
      const word = (link - 1) * ID_WORDS;
      const same = ids[word + 2] === c && ids[word + 1] === b && ids[word] === a && ids[word + 3] === d;
      if (same && this.#callers[link - 1] === caller) return link - 1;
    }
    return UNKNOWN;
  }

  /** Remembers an invocation and returns its entry. */
  add(caller: number, source: Buffer, at: number, attempt: number, value: T): number {
    while (this.#values[this.#cursor] !== undefined) this.#advance();
    const entry = this.#cursor;
    this.#advance();
    if (this.#used[entry] === 1) this.#unlink(entry);
    const word = entry * ID_WORDS;
    for (let i = 0; i < ID_WORDS; i += 1) this.#ids[word + i] = source.readUInt32LE(at + i * 4);
    this.#callers[entry] = caller;
    this.#attempts[entry] = attempt;
    this.#values[entry] = value;
    this.#used[entry] = 1;
    const bucket = this.#bucketOf(entry);
    this.#next[entry] = this.#heads[bucket] as number;
    this.#heads[bucket] = entry + 1;
    return entry;
  }

  /** Attempt of an entry. */
  attempt(entry: number): number {
    return this.#attempts[entry] as number;
  }

  /** Live value of an entry; undefined once it was settled. */
  value(entry: number): T | undefined {
    return this.#values[entry];
  }

  /** Where the result of a settled entry is kept. */
  place(entry: number): number {
    return this.#places[entry] as number;
  }

  /** The value is live no more; its result is kept at `place`. */
  settle(entry: number, place: number): void {
    this.#values[entry] = undefined;
    this.#places[entry] = place;
  }

  /** Forgets an entry, as if its invocation had never come. */
  remove(entry: number): void {
    this.#values[entry] = undefined;
    if (this.#used[entry] === 1) this.#unlink(entry);
  }

  /** Copies the 16 bytes of an entry's invocation to `target`. */
  copyId(entry: number, target: Buffer, at: number): void {
    for (let i = 0; i < ID_WORDS; i += 1) target.writeUInt32LE(this.#ids[entry * ID_WORDS + i] as number, at + i * 4);
  }

  #advance(): void {
    this.#cursor = (this.#cursor + 1) & (this.#capacity - 1);
  }

  #bucketOf(entry: number): number {
    const word = entry * ID_WORDS;
    const ids = this.#ids;
    return this.#bucket(ids[word] as number, ids[word + 1] as number, ids[word + 2] as number, ids[word + 3] as number);
  }

  /**
   * Ids of one caller rise by a counter (see InvocationIds). Everything else is mixed and the counter added, so that ids
   * which follow each other lie in neighbouring buckets: a burst touches a few cache lines instead of several for each id.
   */
  #bucket(a: number, b: number, c: number, d: number): number {
    const counter = ((c & 0x3f) << 12) | ((c >>> 4) & 0xff0) | ((c >>> 20) & 0x0f);
    let hash = Math.imul(a ^ Math.imul(b, 0x9e3779b1), 0x85ebca6b) ^ Math.imul(c & 0xff0f0000, 0xc2b2ae35) ^ Math.imul(d, 0x27d4eb2f);
    hash ^= hash >>> 15;
    hash = Math.imul(hash, 0x2c1b3c6d);
    return ((hash ^ (hash >>> 13)) + counter) & (this.#capacity - 1);
  }

  #unlink(entry: number): void {
    this.#used[entry] = 0;
    const bucket = this.#bucketOf(entry);
    const link = entry + 1;
    if (this.#heads[bucket] === link) {
      this.#heads[bucket] = this.#next[entry] as number;
      return;
    }
    for (let at = this.#heads[bucket] as number; at !== 0; at = this.#next[at - 1] as number) {
      if (this.#next[at - 1] !== link) continue;
      this.#next[at - 1] = this.#next[entry] as number;
      return;
    }
  }
}
