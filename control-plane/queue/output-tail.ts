/** The end of what a plugin printed, at most a number of bytes. */
export class OutputTail {
  readonly #limit: number;
  readonly #chunks: Buffer[] = [];
  #bytes = 0;
  /** Something was dropped. */
  truncated = false;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Takes a copy of a piece. */
  push(data: Buffer): void {
    this.truncated ||= this.#bytes + data.length > this.#limit;
    const kept = Buffer.from(data.subarray(Math.max(0, data.length - this.#limit)));
    this.#chunks.push(kept);
    this.#bytes += kept.length;
    for (let first = this.#chunks[0]; first !== undefined && this.#bytes - first.length >= this.#limit; first = this.#chunks[0]) {
      this.#chunks.shift();
      this.#bytes -= first.length;
    }
  }

  /** What is kept. */
  bytes(): Buffer {
    const all = Buffer.concat(this.#chunks);
    return all.subarray(Math.max(0, all.length - this.#limit));
  }
}
