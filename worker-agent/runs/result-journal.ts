import type { VerdictNumber } from '../../protocol/verdicts.ts';
import { CHUNK_HEADER_BYTES, type ChunkQueue } from './chunk-queue.ts';
import type { Outcome } from './outcome.ts';

/** Fixed part of an entry: the fields below, before detail and chunks. */
const Header = Object.freeze({
  chunks: 0,
  dropped: 4,
  durationUs: 8,
  exitCode: 12,
  error: 14,
  detail: 16,
  verdict: 18,
  signal: 19,
  end: 20,
});
const MAX_DETAIL_BYTES = 0xffff;

/** A result as it was kept. */
export interface KeptResult {
  readonly outcome: Outcome;
  readonly durationUs: number;
  /** Bytes of early output that were not kept. */
  readonly dropped: number;
  /** Gives every kept chunk of output, in order. */
  readonly replay: (visit: (flags: number, source: Buffer, start: number, end: number) => void) => void;
}

/** A finished run's output and outcome, to be kept. */
export interface ResultParts {
  readonly outcome: Outcome;
  readonly durationUs: number;
  readonly dropped: number;
  readonly queues: readonly (ChunkQueue | null)[];
}

/**
 * Results of the newest runs in a ring of bytes, so that a request that comes again after a broker died
 * gets its answer without a second execution. The oldest results are overwritten.
 * A place is the count of bytes ever written before the entry, so an overwritten one is recognised.
 */
export class ResultJournal {
  readonly #size: number;
  readonly #ring: Buffer;
  #written = 0;

  /** `size`: bytes of the ring; memory is taken by the system as the ring fills for the first time. */
  constructor(size: number) {
    this.#size = size;
    this.#ring = Buffer.alloc(size);
  }

  /** Keeps a result and returns its place. */
  store(parts: ResultParts): number {
    const detail = parts.outcome.detail === '' ? 0 : Math.min(Buffer.byteLength(parts.outcome.detail), MAX_DETAIL_BYTES);
    let chunks = 0;
    for (const queue of parts.queues) chunks += queue?.encodedBytes ?? 0;
    const place = this.#reserve(Header.end + detail + chunks);
    const at = this.#header(place, parts, detail, chunks);
    let offset = at + Header.end + detail;
    for (const queue of parts.queues) if (queue !== null) offset = queue.copyTo(this.#ring, offset);
    return place;
  }

  /** Keeps the result of a run whose whole output is one chunk (or none): the common case, without any queue. */
  storeChunk(parts: ResultParts, flags: number, source: Buffer, start: number, end: number): number {
    const length = end - start;
    const chunks = length === 0 ? 0 : CHUNK_HEADER_BYTES + length;
    const place = this.#reserve(Header.end + chunks);
    const at = this.#header(place, parts, 0, chunks) + Header.end;
    if (length === 0) return place;
    this.#ring[at] = flags;
    this.#ring.writeUInt32LE(length, at + 1);
    source.copy(this.#ring, at + CHUNK_HEADER_BYTES, start, end);
    return place;
  }

  /** The result at a place, or null when it was overwritten. Valid until the next `store`. */
  load(place: number): KeptResult | null {
    if (place < this.#written - this.#size) return null;
    const ring = this.#ring;
    const at = place % this.#size;
    const detailEnd = at + Header.end + ring.readUInt16LE(at + Header.detail);
    const chunksEnd = detailEnd + ring.readUInt32LE(at + Header.chunks);
    return {
      outcome: {
        verdict: ring[at + Header.verdict] as VerdictNumber,
        exitCode: ring.readInt16LE(at + Header.exitCode),
        signal: ring[at + Header.signal] as number,
        error: ring.readUInt16LE(at + Header.error),
        detail: ring.toString('utf8', at + Header.end, detailEnd),
      },
      durationUs: ring.readUInt32LE(at + Header.durationUs),
      dropped: ring.readUInt32LE(at + Header.dropped),
      replay: (visit) => {
        for (let offset = detailEnd; offset < chunksEnd; ) {
          const end = offset + CHUNK_HEADER_BYTES + ring.readUInt32LE(offset + 1);
          visit(ring[offset] as number, ring, offset + CHUNK_HEADER_BYTES, end);
          offset = end;
        }
      },
    };
  }

  #header(place: number, parts: ResultParts, detail: number, chunks: number): number {
    const ring = this.#ring;
    const { outcome } = parts;
    const at = place % this.#size;
    ring.writeUInt32LE(chunks, at + Header.chunks);
    ring.writeUInt32LE(Math.min(parts.dropped, 0xffffffff), at + Header.dropped);
    ring.writeUInt32LE(parts.durationUs, at + Header.durationUs);
    ring.writeInt16LE(outcome.exitCode, at + Header.exitCode);
    ring.writeUInt16LE(outcome.error, at + Header.error);
    ring.writeUInt16LE(detail, at + Header.detail);
    ring[at + Header.verdict] = outcome.verdict;
    ring[at + Header.signal] = outcome.signal;
    if (detail > 0) ring.write(outcome.detail, at + Header.end, detail);
    return at;
  }

  /** Takes room in one piece: an entry that would cross the end of the ring starts at its beginning. */
  #reserve(bytes: number): number {
    const left = this.#size - (this.#written % this.#size);
    if (bytes > left) this.#written += left;
    const place = this.#written;
    this.#written += bytes;
    return place;
  }
}
