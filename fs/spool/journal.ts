import { closeSync, constants, fdatasyncSync, fstatSync, ftruncateSync, openSync, readSync, writeSync } from 'node:fs';
import { crc32 } from 'node:zlib';
import { INVOCATION_ID_BYTES } from '../../protocol/records.ts';
import type { Message } from './message.ts';

/** Record kinds of the journal. */
const Kind = Object.freeze({ message: 1, part: 2, closed: 3, drop: 4, answered: 5 });

/** u32 length of the body, u32 CRC-32 of the body. */
const HEADER_BYTES = 8;
/** u8 kind, u32 generation. */
const PREFIX_BYTES = 5;
/** f64 sequence, u32 trigger, u32 handle, f64 accepted at, invocation id. */
const MESSAGE_BYTES = PREFIX_BYTES + 24 + INVOCATION_ID_BYTES;
const PART_BYTES = PREFIX_BYTES + 8;
const SCRATCH_BYTES = 256 * 1024;
const KEEP_SCRATCH_BYTES = 1024 * 1024;
/** A file that grew beyond this is cut back when it starts over. */
const KEEP_FILE_BYTES = 32 * 1024 * 1024;

/** Receives what a journal holds, in the order in which it was written. */
export interface JournalReader {
  message(message: Message, handle: number): void;
  part(trigger: number, handle: number, data: Buffer): void;
  closed(handle: number): void;
  drop(handle: number): void;
  answered(sequence: number): void;
}

/**
 * The intake of the spool: an append-only file in front of the database, because one write(2) costs a tenth of
 * a database commit and survives kill -9 just the same (the page cache outlives the process).
 *
 * Records collect in memory and reach the file together at `commit`. When the database has taken everything, the file
 * starts over with the next generation: records of older generations, and whatever follows a torn record, are void.
 */
export class Journal {
  readonly #file: number;
  #generation: number;
  #scratch = Buffer.allocUnsafeSlow(SCRATCH_BYTES);
  #collected = 0;
  #position = 0;

  constructor(path: string, generation: number) {
    this.#file = openSync(path, constants.O_RDWR | constants.O_CREAT, 0o600);
    this.#generation = generation;
  }

  /** Bytes of the file in use. */
  get position(): number {
    return this.#position;
  }

  /** Bytes collected for the next commit. */
  get collected(): number {
    return this.#collected;
  }

  /** Adds a message. `handle` is the open file whose collected parts are contained in it, 0 for none. */
  message(message: Message, handle: number): void {
    const { payload } = message;
    const at = this.#reserve(Kind.message, MESSAGE_BYTES + payload.length) + PREFIX_BYTES;
    const scratch = this.#scratch;
    scratch.writeDoubleLE(message.sequence, at);
    scratch.writeUInt32LE(message.trigger, at + 8);
    scratch.writeUInt32LE(handle, at + 12);
    scratch.writeDoubleLE(message.acceptedAt, at + 16);
    message.invocation.copy(scratch, at + 24);
    payload.copy(scratch, at + 24 + INVOCATION_ID_BYTES);
    this.#seal(at - PREFIX_BYTES, MESSAGE_BYTES + payload.length);
  }

  /** Adds bytes of an open file that are no message yet. */
  part(trigger: number, handle: number, data: Buffer): void {
    const at = this.#reserve(Kind.part, PART_BYTES + data.length);
    this.#scratch.writeUInt32LE(trigger, at + PREFIX_BYTES);
    this.#scratch.writeUInt32LE(handle, at + PREFIX_BYTES + 4);
    data.copy(this.#scratch, at + PART_BYTES);
    this.#seal(at, PART_BYTES + data.length);
  }

  /** Notes that the parts of an open file are complete. */
  closed(handle: number): void {
    this.#handleRecord(Kind.closed, handle);
  }

  /** Notes that the parts of an open file are void. */
  drop(handle: number): void {
    this.#handleRecord(Kind.drop, handle);
  }

  /** Notes that messages need not be sent again. */
  answered(sequences: readonly number[]): void {
    const at = this.#reserve(Kind.answered, PREFIX_BYTES + sequences.length * 8);
    let offset = at + PREFIX_BYTES;
    for (const sequence of sequences) offset = this.#scratch.writeDoubleLE(sequence, offset);
    this.#seal(at, offset - at);
  }

  /** Forgets what was collected since the last commit. */
  rollback(): void {
    this.#collected = 0;
  }

  /** Writes what was collected; `sync` also waits for the disk. @throws the file system's error, with nothing written */
  commit(sync: boolean): void {
    if (this.#collected > 0) {
      const bytes = this.#collected;
      this.#collected = 0;
      let written = 0;
      // A short write leaves a torn record behind `position`, which the next commit overwrites.
      while (written < bytes) written += writeSync(this.#file, this.#scratch, written, bytes - written, this.#position + written);
      this.#position += bytes;
      if (this.#scratch.length > KEEP_SCRATCH_BYTES) this.#scratch = Buffer.allocUnsafeSlow(SCRATCH_BYTES);
    }
    if (sync) fdatasyncSync(this.#file);
  }

  /** Starts over; everything written so far is void. */
  restart(generation: number): void {
    if (this.#position > KEEP_FILE_BYTES) ftruncateSync(this.#file, 0);
    this.#generation = generation;
    this.#position = 0;
  }

  /**
   * Hands out what the file holds of the current generation, up to the first torn record, and returns that generation.
   * A newer one than expected is right: the power failed before the database's last transaction was on the disk.
   */
  recover(reader: JournalReader): number {
    const content = this.#readAll();
    let offset = 0;
    while (offset + HEADER_BYTES + PREFIX_BYTES <= content.length) {
      const start = offset + HEADER_BYTES;
      const end = start + content.readUInt32LE(offset);
      if (end > content.length || end < start + PREFIX_BYTES) break;
      const body = content.subarray(start, end);
      if (crc32(body) !== content.readUInt32LE(offset + 4)) break;
      const generation = body.readUInt32LE(1);
      if (offset === 0) this.#generation = Math.max(this.#generation, generation);
      if (generation !== this.#generation) break;
      read(body, reader);
      offset = end;
    }
    this.#position = offset;
    return this.#generation;
  }

  /** Closes the file. */
  close(): void {
    closeSync(this.#file);
  }

  #handleRecord(kind: number, handle: number): void {
    const at = this.#reserve(kind, PREFIX_BYTES + 4);
    this.#scratch.writeUInt32LE(handle, at + PREFIX_BYTES);
    this.#seal(at, PREFIX_BYTES + 4);
  }

  /** Makes room for a record and returns where its body starts. */
  #reserve(kind: number, bodyBytes: number): number {
    const body = this.#collected + HEADER_BYTES;
    const end = body + bodyBytes;
    if (end > this.#scratch.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(end, this.#scratch.length * 2));
      this.#scratch.copy(larger, 0, 0, this.#collected);
      this.#scratch = larger;
    }
    this.#scratch[body] = kind;
    this.#scratch.writeUInt32LE(this.#generation, body + 1);
    return body;
  }

  #seal(body: number, bodyBytes: number): void {
    const end = body + bodyBytes;
    this.#scratch.writeUInt32LE(bodyBytes, this.#collected);
    this.#scratch.writeUInt32LE(crc32(this.#scratch.subarray(body, end)), this.#collected + 4);
    this.#collected = end;
  }

  #readAll(): Buffer {
    const content = Buffer.alloc(fstatSync(this.#file).size);
    let length = 0;
    while (length < content.length) {
      const bytes = readSync(this.#file, content, length, content.length - length, length);
      if (bytes === 0) break;
      length += bytes;
    }
    return content.subarray(0, length);
  }
}

function read(body: Buffer, reader: JournalReader): void {
  const kind = body[0];
  if (kind === Kind.message) {
    const message: Message = {
      sequence: body.readDoubleLE(PREFIX_BYTES),
      trigger: body.readUInt32LE(PREFIX_BYTES + 8),
      acceptedAt: body.readDoubleLE(PREFIX_BYTES + 16),
      invocation: Buffer.from(body.subarray(PREFIX_BYTES + 24, MESSAGE_BYTES)),
      payload: Buffer.from(body.subarray(MESSAGE_BYTES)),
      resume: true,
      settled: false,
      done: false,
    };
    reader.message(message, body.readUInt32LE(PREFIX_BYTES + 12));
  } else if (kind === Kind.part) {
    reader.part(body.readUInt32LE(PREFIX_BYTES), body.readUInt32LE(PREFIX_BYTES + 4), Buffer.from(body.subarray(PART_BYTES)));
  } else if (kind === Kind.closed) {
    reader.closed(body.readUInt32LE(PREFIX_BYTES));
  } else if (kind === Kind.drop) {
    reader.drop(body.readUInt32LE(PREFIX_BYTES));
  } else if (kind === Kind.answered) {
    for (let offset = PREFIX_BYTES; offset + 8 <= body.length; offset += 8) reader.answered(body.readDoubleLE(offset));
  }
}
