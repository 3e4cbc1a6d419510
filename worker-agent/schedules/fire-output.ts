import { RESIDENT_LIMITS } from '../../protocol/resident.ts';
import { CHUNK_HEADER_BYTES } from '../runs/chunk-queue.ts';
import type { Journal } from './journal.ts';

const BLOCK_BYTES = 64 * 1024;

/** The output of one fire on its way to the journal, in blocks of chunks; of too much the newest stays. */
export class FireOutput {
  readonly #sequence: number;
  #chunks: Buffer[] = [];
  #pending = 0;
  #blocks: readonly number[] = [];
  #firstBlock = 0;
  #kept = 0;
  #dropped = 0;

  constructor(sequence: number) {
    this.#sequence = sequence;
  }

  /** Whether a block is full. */
  get full(): boolean {
    return this.#pending >= BLOCK_BYTES;
  }

  /** Takes a copy of `source.subarray(start, end)`. */
  append(flags: number, source: Buffer, start: number, end: number): void {
    const chunk = Buffer.allocUnsafe(CHUNK_HEADER_BYTES + end - start);
    chunk[0] = flags;
    chunk.writeUInt32LE(end - start, 1);
    source.copy(chunk, CHUNK_HEADER_BYTES, start, end);
    this.#chunks.push(chunk);
    this.#pending += chunk.length;
  }

  /**
   * Writes what is pending as one block. Returns by how many bytes the journal grows, the bytes that are not kept so far,
   * and what to call when the transaction is committed: without that call nothing has happened.
   */
  flush(journal: Journal): { grown: number; dropped: number; settle: () => void } {
    if (this.#pending === 0) return { grown: 0, dropped: this.#dropped, settle: () => undefined };
    const block = Buffer.concat(this.#chunks);
    journal.addOutput(this.#sequence, this.#firstBlock + this.#blocks.length, block);
    const sizes = [...this.#blocks, block.length];
    let kept = this.#kept + block.length;
    let first = 0;
    for (; kept > RESIDENT_LIMITS.outputBytes && first < sizes.length - 1; first += 1) {
      journal.dropBlock(this.#sequence, this.#firstBlock + first);
      kept -= sizes[first] as number;
    }
    const grown = kept - this.#kept;
    const dropped = this.#dropped + block.length - grown;
    const settle = (): void => {
      this.#dropped = dropped;
      this.#blocks = sizes.slice(first);
      this.#firstBlock += first;
      this.#kept = kept;
      this.#clear();
    };
    return { grown, dropped, settle };
  }

  /** Gives up what is pending, because it cannot be written. */
  drop(): void {
    this.#dropped += this.#pending;
    this.#clear();
  }

  #clear(): void {
    this.#chunks = [];
    this.#pending = 0;
  }
}
