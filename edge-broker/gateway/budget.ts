/** Bytes that may be held at once for all callers together. */
export class Budget {
  readonly #limit: number;
  #used = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Bytes held. */
  get used(): number {
    return this.#used;
  }

  /** Takes bytes; false when there is no room for them. */
  take(bytes: number): boolean {
    if (this.#used + bytes > this.#limit) return false;
    this.#used += bytes;
    return true;
  }

  /** Gives bytes back. */
  give(bytes: number): void {
    this.#used -= bytes;
  }
}
