import {
  BLOCK_BYTES,
  BLOCK_FRAMED_BYTES,
  BLOCK_HEAD_BYTES,
  FRAME_HEAD_BYTES,
  readBlock,
  writeBlockHead,
  writeFrame,
} from '../../protocol/history-block.ts';

const SMALLEST_BYTES = 256;

/** A block that is ready to be stored. */
export interface Block {
  /** Plain and framed. */
  readonly data: Buffer;
  readonly firstSequence: number;
  /** Bytes of output inside. */
  readonly bytes: number;
  /** Time of its first piece, in milliseconds since 1970. */
  readonly at: number;
  /** Output before it is missing. */
  readonly gap: boolean;
}

/** Frames the output of one run and cuts it into blocks. What a batch brought is copied: the batch belongs to the socket. */
export class BlockBuffer {
  #full: Block[] = [];
  #open: Buffer | null = null;
  #used = 0;
  #bytes = 0;
  #firstSequence = 0;
  #at = 0;
  #gap = false;
  #memory = 0;

  /** Bytes of memory it holds. */
  get memory(): number {
    return this.#memory;
  }

  /** Adds a piece of output: `source` from `start` to `end`, which came at `now`. */
  append(stderr: boolean, sequence: number, now: number, source: Buffer, start: number, end: number): void {
    const length = end - start;
    if (this.#open !== null && (this.#bytes + length > BLOCK_BYTES || this.#used + length + FRAME_HEAD_BYTES > BLOCK_FRAMED_BYTES))
      this.#cut();
    const target = this.#room(length + FRAME_HEAD_BYTES);
    if (this.#bytes === 0 && this.#used === BLOCK_HEAD_BYTES) {
      this.#firstSequence = sequence;
      this.#at = now;
    }
    this.#used = writeFrame(target, this.#used, { stderr, sequence, offsetMs: Math.max(0, now - this.#at) }, source, start, end);
    this.#bytes += length;
  }

  /** Output is missing from here on: the next block says so. */
  markGap(): void {
    if (this.#open !== null) this.#cut();
    this.#gap = true;
  }

  /** No more output follows. A gap at the end, noticed until `now`, gets an empty block that says so. */
  finish(now: number): void {
    if (this.#open !== null || !this.#gap) return;
    this.#room(0);
    this.#at = now;
  }

  /** Takes all blocks, also the one that is not full. */
  take(): readonly Block[] {
    if (this.#open !== null) this.#cut();
    const blocks = this.#full;
    this.#full = [];
    this.#memory = 0;
    return blocks;
  }

  #cut(): void {
    const data = (this.#open as Buffer).subarray(0, this.#used);
    this.#full.push({ data, firstSequence: this.#firstSequence, bytes: this.#bytes, at: this.#at, gap: this.#gap });
    this.#open = null;
    this.#bytes = 0;
    this.#gap = false;
  }

  #room(bytes: number): Buffer {
    const open = this.#open;
    if (open !== null && this.#used + bytes <= open.length) return open;
    const needed = (open === null ? BLOCK_HEAD_BYTES : this.#used) + bytes;
    let size = open?.length ?? SMALLEST_BYTES;
    while (size < needed) size *= 2;
    const grown = Buffer.allocUnsafe(size);
    if (open === null) this.#used = writeBlockHead(grown);
    else open.copy(grown, 0, 0, this.#used);
    this.#memory += size - (open?.length ?? 0);
    this.#open = grown;
    return grown;
  }
}

/** The block without the first bytes of its output; null when nothing is left. */
export function withoutFirst(block: Block, bytes: number): Block | null {
  if (bytes >= block.bytes) return null;
  const data = Buffer.allocUnsafe(block.data.length);
  let at = writeBlockHead(data);
  let skip = bytes;
  let firstSequence: number | null = null;
  for (const frame of readBlock(block.data)) {
    const skipped = Math.min(skip, frame.data.length);
    skip -= skipped;
    if (skipped === frame.data.length && frame.data.length > 0) continue;
    firstSequence ??= frame.sequence;
    at = writeFrame(data, at, { ...frame, stderr: frame.stream === 'stderr' }, frame.data, skipped, frame.data.length);
  }
  return { ...block, data: data.subarray(0, at), firstSequence: firstSequence ?? block.firstSequence, bytes: block.bytes - bytes };
}
