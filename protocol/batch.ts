import { PROTOCOL_VERSION } from './version.ts';

/** Bytes before a record's body: u32 length (of everything after itself), u8 type, u8 flags. */
export const RECORD_HEADER_BYTES = 6;

const LENGTH_BYTES = 4;
const INITIAL_BYTES = 1024;
const KEEP_BYTES = 512 * 1024;

/** A batch that does not follow the protocol. Receivers drop the batch, count it, and keep serving others. */
export class MalformedBatchError extends Error {
  override name = 'MalformedBatchError';
}

/** Called for each record of a batch; the body is `batch.subarray(start, end)` and is valid only during the call. */
export type RecordVisitor = (type: number, flags: number, batch: Buffer, start: number, end: number) => void;

/**
 * Walks over the records of a batch without copying.
 * @throws MalformedBatchError on a wrong version byte, a length that leaves the batch, or trailing bytes;
 *   records before the damage have been visited by then.
 */
export function readBatch(batch: Buffer, visit: RecordVisitor): void {
  const size = batch.length;
  if (size === 0) throw new MalformedBatchError('empty batch');
  if (batch[0] !== PROTOCOL_VERSION) throw new MalformedBatchError(`protocol version ${batch[0]}, expected ${PROTOCOL_VERSION}`);
  let offset = 1;
  while (offset < size) {
    if (offset + RECORD_HEADER_BYTES > size) throw new MalformedBatchError(`record header cut at byte ${offset}`);
    const end = offset + LENGTH_BYTES + batch.readUInt32LE(offset);
    if (end > size || end < offset + RECORD_HEADER_BYTES) throw new MalformedBatchError(`record length leaves the batch at byte ${offset}`);
    visit(batch[offset + 4] as number, batch[offset + 5] as number, batch, offset + RECORD_HEADER_BYTES, end);
    offset = end;
  }
}

/**
 * Collects records for one destination until they are taken as one batch.
 * Callers reserve a body and write its fields into `buffer` at the returned offset, before the next call.
 */
export class BatchWriter {
  /** The bytes being collected; replaced when it grows, so never keep a reference over a call. */
  buffer: Buffer = Buffer.allocUnsafeSlow(INITIAL_BYTES);
  #length = 1;

  constructor() {
    this.buffer[0] = PROTOCOL_VERSION;
  }

  /** Bytes collected so far, including the version byte. */
  get length(): number {
    return this.#length;
  }

  /** True when no record has been written since the last `take`. */
  get empty(): boolean {
    return this.#length === 1;
  }

  /** Starts a record whose body has exactly `bodyBytes` bytes and returns the offset of that body in `buffer`. */
  reserve(type: number, flags: number, bodyBytes: number): number {
    const at = this.#length;
    const end = at + RECORD_HEADER_BYTES + bodyBytes;
    if (end > this.buffer.length) this.#grow(end);
    const buffer = this.buffer;
    buffer.writeUInt32LE(bodyBytes + 2, at);
    buffer[at + 4] = type;
    buffer[at + 5] = flags;
    this.#length = end;
    return at + RECORD_HEADER_BYTES;
  }

  /** Appends a record whose body is a copy of `source.subarray(start, end)` and returns the offset of that body. */
  copy(type: number, flags: number, source: Buffer, start: number, end: number): number {
    const body = this.reserve(type, flags, end - start);
    source.copy(this.buffer, body, start, end);
    return body;
  }

  /** Appends a record with an empty or ready-made body. */
  write(type: number, flags: number, body?: Buffer): void {
    if (body === undefined) this.reserve(type, flags, 0);
    else this.copy(type, flags, body, 0, body.length);
  }

  /** Appends a control record with a JSON body. */
  json(type: number, value: unknown): void {
    this.write(type, 0, Buffer.from(JSON.stringify(value)));
  }

  /** Returns the collected batch as a buffer of its own and starts an empty one. */
  take(): Buffer {
    const batch = Buffer.allocUnsafeSlow(this.#length);
    this.buffer.copy(batch, 0, 0, this.#length);
    this.clear();
    return batch;
  }

  /** Drops what was collected; a buffer that grew large is given back. */
  clear(): void {
    this.#length = 1;
    if (this.buffer.length > KEEP_BYTES) this.#allocate(INITIAL_BYTES);
  }

  #grow(needed: number): void {
    const previous = this.buffer;
    this.#allocate(Math.max(needed, previous.length * 2));
    previous.copy(this.buffer, 0, 0, this.#length);
  }

  #allocate(bytes: number): void {
    this.buffer = Buffer.allocUnsafeSlow(bytes);
    this.buffer[0] = PROTOCOL_VERSION;
  }
}

/** Reads a JSON control body. @throws MalformedBatchError when it is not a JSON object. */
export function readJson(batch: Buffer, start: number, end: number): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(batch.toString('utf8', start, end));
  } catch (cause) {
    throw new MalformedBatchError('control record is not JSON', { cause });
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new MalformedBatchError('control record is not a JSON object');
  return value as Record<string, unknown>;
}
