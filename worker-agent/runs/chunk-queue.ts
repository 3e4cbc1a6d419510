/** Bytes before the data of a chunk: u8 flags, u32 length. */
export const CHUNK_HEADER_BYTES = 5;

const INITIAL_BYTES = 512;

/**
 * Pieces of output with their flags (standard output or error), first in, first out, in one growing buffer.
 * Used for output that waits for credit, and for the newest output that was sent already.
 */
export class ChunkQueue {
  #buffer: Buffer = Buffer.allocUnsafe(INITIAL_BYTES);
  #head = 0;
  #tail = 0;
  #bytes = 0;

  /** Bytes of output held. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Bytes of the chunks with their headers, as `copyTo` writes them. */
  get encodedBytes(): number {
    return this.#tail - this.#head;
  }

  /** Adds a chunk, a copy of `source.subarray(start, end)`. */
  append(flags: number, source: Buffer, start: number, end: number): void {
    const length = end - start;
    if (length === 0) return;
    this.#makeRoom(CHUNK_HEADER_BYTES + length);
    const at = this.#tail;
    this.#buffer[at] = flags;
    this.#buffer.writeUInt32LE(length, at + 1);
    source.copy(this.#buffer, at + CHUNK_HEADER_BYTES, start, end);
    this.#tail = at + CHUNK_HEADER_BYTES + length;
    this.#bytes += length;
  }

  /**
   * Hands out up to `limit` bytes from the front, chunk by chunk, at most `chunkLimit` at a time; they leave the queue.
   * Returns the bytes handed out. The visitor must not touch this queue.
   */
  drain(limit: number, chunkLimit: number, visit: (flags: number, source: Buffer, start: number, end: number) => void): number {
    let left = limit;
    while (left > 0 && this.#bytes > 0) {
      const flags = this.#buffer[this.#head] as number;
      const length = this.#buffer.readUInt32LE(this.#head + 1);
      const data = this.#head + CHUNK_HEADER_BYTES;
      const part = Math.min(length, left, chunkLimit);
      visit(flags, this.#buffer, data, data + part);
      this.#consume(flags, length, part);
      left -= part;
    }
    return limit - left;
  }

  /** Drops whole chunks from the front until at most `limit` bytes are held. Returns the bytes dropped. */
  trim(limit: number): number {
    const before = this.#bytes;
    while (this.#bytes > limit) {
      const length = this.#buffer.readUInt32LE(this.#head + 1);
      this.#consume(0, length, length);
    }
    return before - this.#bytes;
  }

  /** Writes all chunks with their headers to `target` and returns the offset after them. */
  copyTo(target: Buffer, offset: number): number {
    return offset + this.#buffer.copy(target, offset, this.#head, this.#tail);
  }

  #consume(flags: number, length: number, part: number): void {
    this.#bytes -= part;
    this.#head += part;
    if (part < length) {
      // The rest keeps a header of its own, over bytes that have just left.
      this.#buffer[this.#head] = flags;
      this.#buffer.writeUInt32LE(length - part, this.#head + 1);
    } else {
      this.#head += CHUNK_HEADER_BYTES;
    }
    if (this.#head === this.#tail) {
      this.#head = 0;
      this.#tail = 0;
    }
  }

  #makeRoom(needed: number): void {
    if (this.#tail + needed <= this.#buffer.length) return;
    const held = this.#tail - this.#head;
    const fits = held + needed <= this.#buffer.length / 2;
    const target = fits ? this.#buffer : Buffer.allocUnsafeSlow(Math.max((held + needed) * 2, this.#buffer.length * 2));
    this.#buffer.copy(target, 0, this.#head, this.#tail);
    this.#buffer = target;
    this.#head = 0;
    this.#tail = held;
  }
}
