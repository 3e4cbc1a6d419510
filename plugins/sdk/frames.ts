/**
 * The frames between a worker and a resident plugin; plugins/sdk/README.md specifies them for other languages.
 * u32 length (of everything after itself) | u8 type | u8 flags | u32 number | body; little endian.
 */
export const FrameType = Object.freeze({
  /** Worker to plugin: JSON {protocol, plugin, version, worker}; the first frame. */
  hello: 0x01,
  /** Worker to plugin: JSON {args, service, caller, team} under a plan number. */
  plan: 0x02,
  /** Worker to plugin: the plan number is not used any more. */
  unplan: 0x03,
  /** Worker to plugin: a run begins. */
  run: 0x04,
  /** Worker to plugin: the run may send this many more bytes of output. */
  credit: 0x05,
  /** Worker to plugin: the run should end now. */
  cancel: 0x06,
  /** Worker to plugin: finish the open runs and exit. */
  stop: 0x07,
  /** Plugin to worker: JSON {protocol}; the answer to HELLO. */
  ready: 0x81,
  /** Plugin to worker: output of a run. */
  output: 0x82,
  /** Plugin to worker: the run ended; data after the exit code is its last standard output. */
  done: 0x83,
});

/** Flag bits of frames; a bit means something only for the types named here. */
export const FrameFlag = Object.freeze({
  /** OUTPUT: standard error. */
  stderr: 0x01,
  /** CANCEL: the deadline passed. */
  timeout: 0x01,
});

/** Byte offsets inside the bodies of frames that are no JSON. */
export const FrameLayout = Object.freeze({
  run: { plan: 0, credit: 4, timeoutMs: 8, attempt: 12, invocation: 16, payload: 32 },
  credit: { bytes: 0, end: 4 },
  done: { exitCode: 0, output: 2 },
});

/** Version of these frames, exchanged in HELLO and READY. */
export const FRAME_PROTOCOL = 1;

/** Bytes before a frame's body. */
export const FRAME_HEADER_BYTES = 10;

/** Largest frame: the largest payload and its headers. */
export const MAX_FRAME_BYTES: number = 4 * 1024 * 1024 + 64 * 1024;

/** Largest data part of one OUTPUT or DONE frame. */
export const MAX_OUTPUT_BYTES: number = 64 * 1024;

const LENGTH_BYTES = 4;
const INITIAL_BYTES = 16 * 1024;
const KEEP_BYTES = 1024 * 1024;

/** Bytes that are no frames: the peer speaks something else, and the connection is of no use any more. */
export class FrameError extends Error {
  override name = 'FrameError';
}

/** Called for each frame; the body is `source.subarray(start, end)` and is valid only during the call. */
export type FrameVisitor = (type: number, flags: number, number: number, source: Buffer, start: number, end: number) => void;

/** Cuts a stream of bytes into frames. Only a frame that arrives in pieces is copied. */
export class FrameReader {
  readonly #visit: FrameVisitor;
  #partial: Buffer = Buffer.allocUnsafeSlow(INITIAL_BYTES);
  #held = 0;

  constructor(visit: FrameVisitor) {
    this.#visit = visit;
  }

  /**
   * Takes the next bytes, `chunk.subarray(0, length)`, and visits every frame that is complete.
   * @throws FrameError when the bytes are no frames; nothing may be pushed after it
   */
  push(chunk: Buffer, length: number): void {
    let offset = this.#held === 0 ? 0 : this.#complete(chunk, length);
    while (offset + LENGTH_BYTES <= length) {
      const end = offset + LENGTH_BYTES + checkedLength(chunk, offset);
      if (end > length) break;
      this.#frame(chunk, offset, end);
      offset = end;
    }
    if (offset < length) this.#hold(chunk, offset, length);
  }

  /** Adds to the frame in pieces what belongs to it and returns how many bytes that took. */
  #complete(chunk: Buffer, length: number): number {
    let used = 0;
    if (this.#held < LENGTH_BYTES) {
      used = Math.min(LENGTH_BYTES - this.#held, length);
      this.#hold(chunk, 0, used);
      if (this.#held < LENGTH_BYTES) return used;
    }
    const size = LENGTH_BYTES + checkedLength(this.#partial, 0);
    const missing = Math.min(size - this.#held, length - used);
    this.#hold(chunk, used, used + missing, size);
    if (this.#held === size) {
      this.#held = 0;
      this.#frame(this.#partial, 0, size);
      if (this.#partial.length > KEEP_BYTES) this.#partial = Buffer.allocUnsafeSlow(INITIAL_BYTES);
    }
    return used + missing;
  }

  #hold(chunk: Buffer, start: number, end: number, expected = 0): void {
    const needed = Math.max(expected, this.#held + end - start);
    if (needed > this.#partial.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(needed, this.#partial.length * 2));
      this.#partial.copy(larger, 0, 0, this.#held);
      this.#partial = larger;
    }
    chunk.copy(this.#partial, this.#held, start, end);
    this.#held += end - start;
  }

  #frame(source: Buffer, at: number, end: number): void {
    this.#visit(source[at + 4] as number, source[at + 5] as number, source.readUInt32LE(at + 6), source, at + FRAME_HEADER_BYTES, end);
  }
}

function checkedLength(source: Buffer, at: number): number {
  const length = source.readUInt32LE(at);
  if (length < FRAME_HEADER_BYTES - LENGTH_BYTES || length > MAX_FRAME_BYTES) throw new FrameError(`a frame of ${length} bytes`);
  return length;
}

/**
 * Collects frames until they are taken and written at once.
 * Callers reserve a body and write its fields into `buffer` at the returned offset, before the next call.
 */
export class FrameWriter {
  /** The bytes being collected; replaced when it grows, so never keep a reference over a call. */
  buffer: Buffer = Buffer.allocUnsafeSlow(INITIAL_BYTES);
  #length = 0;

  /** Bytes collected since the last `take`. */
  get length(): number {
    return this.#length;
  }

  /** Starts a frame whose body has exactly `bodyBytes` bytes and returns the offset of that body in `buffer`. */
  reserve(type: number, flags: number, number: number, bodyBytes: number): number {
    const at = this.#length;
    const body = at + FRAME_HEADER_BYTES;
    const end = body + bodyBytes;
    if (end > this.buffer.length) this.#grow(end);
    const buffer = this.buffer;
    buffer.writeUInt32LE(end - at - LENGTH_BYTES, at);
    buffer[at + 4] = type;
    buffer[at + 5] = flags;
    buffer.writeUInt32LE(number, at + 6);
    this.#length = end;
    return body;
  }

  /** Appends a frame with a JSON body. */
  json(type: number, number: number, value: unknown): void {
    const body = Buffer.from(JSON.stringify(value));
    const at = this.reserve(type, 0, number, body.length);
    body.copy(this.buffer, at);
  }

  /** Returns what was collected as a buffer of its own and starts anew. */
  take(): Buffer {
    const frames = Buffer.allocUnsafeSlow(this.#length);
    this.buffer.copy(frames, 0, 0, this.#length);
    this.#length = 0;
    if (this.buffer.length > KEEP_BYTES) this.buffer = Buffer.allocUnsafeSlow(INITIAL_BYTES);
    return frames;
  }

  #grow(needed: number): void {
    const larger = Buffer.allocUnsafeSlow(Math.max(needed, this.buffer.length * 2));
    this.buffer.copy(larger, 0, 0, this.#length);
    this.buffer = larger;
  }
}
