/** Growing pauses with full jitter, so that a thousand peers do not come back in the same instant. */
export class Backoff {
  readonly #firstMs: number;
  readonly #limitMs: number;
  #attempt = 0;

  constructor(firstMs: number, limitMs: number) {
    this.#firstMs = firstMs;
    this.#limitMs = limitMs;
  }

  /** The next pause in milliseconds: between half and all of `first · 2^attempt`, at most `limit`. */
  next(): number {
    const ceiling = Math.min(this.#limitMs, this.#firstMs * 2 ** this.#attempt);
    this.#attempt = Math.min(this.#attempt + 1, 30);
    return ceiling * (0.5 + Math.random() / 2);
  }

  /** Starts over after a success. */
  reset(): void {
    this.#attempt = 0;
  }
}
