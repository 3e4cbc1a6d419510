/**
 * What is inside a block of the history (`triggerfs.outputs.data`, once it is opened), and what it is bound to. Pure: brokers write
 * blocks, the control-plane reads them.
 *
 * A block is `u8 version` and then frames, one for each piece of output as the worker sent it, in the order of their arrival:
 * `u32 length | u8 stream | u32 sequence | u32 ms since the block's time | data`, little endian.
 */

/** Bytes of output in one block, framing not counted. One OUTPUT record always fits. */
export const BLOCK_BYTES = 64 * 1024;

/** Bytes that a frame costs beside its data. */
export const FRAME_HEAD_BYTES = 13;

/** Bytes before the first frame. */
export const BLOCK_HEAD_BYTES = 1;

/** Framing must not outgrow what it frames by much: plugins that write single bytes get smaller blocks. */
export const BLOCK_FRAMED_BYTES = 2 * BLOCK_BYTES;

const VERSION = 1;
const STDERR = 1;

/** One piece of output. */
export interface BlockFrame {
  readonly stream: 'stdout' | 'stderr';
  /** Number of the OUTPUT record in its run; starts anew where a broker took over from another one. */
  readonly sequence: number;
  /** When it passed the broker, in milliseconds after the block's time. */
  readonly offsetMs: number;
  /** A view into the block. */
  readonly data: Buffer;
}

/** Begins a block; returns where the first frame goes. */
export function writeBlockHead(target: Buffer): number {
  return target.writeUInt8(VERSION, 0);
}

/** Writes one frame, whose data is `source` from `start` to `end`; returns where the next one goes. The target must have the room. */
export function writeFrame(
  target: Buffer,
  at: number,
  frame: { readonly stderr: boolean; readonly sequence: number; readonly offsetMs: number },
  source: Buffer,
  start: number,
  end: number,
): number {
  target.writeUInt32LE(end - start, at);
  target[at + 4] = frame.stderr ? STDERR : 0;
  target.writeUInt32LE(frame.sequence, at + 5);
  target.writeUInt32LE(frame.offsetMs, at + 9);
  return at + FRAME_HEAD_BYTES + source.copy(target, at + FRAME_HEAD_BYTES, start, end);
}

/** The frames of a block, in order. @throws RangeError when the bytes are no block */
export function* readBlock(block: Buffer): Generator<BlockFrame, void, undefined> {
  if (block[0] !== VERSION) throw new RangeError(`a block of version ${block[0]}, known is ${VERSION}`);
  let at = BLOCK_HEAD_BYTES;
  while (at < block.length) {
    if (at + FRAME_HEAD_BYTES > block.length) throw new RangeError(`a block that is cut at byte ${block.length}`);
    const data = at + FRAME_HEAD_BYTES;
    const end = data + block.readUInt32LE(at);
    if (end > block.length) throw new RangeError(`a frame to byte ${end} in a block of ${block.length}`);
    yield {
      stream: block[at + 4] === STDERR ? 'stderr' : 'stdout',
      sequence: block.readUInt32LE(at + 5),
      offsetMs: block.readUInt32LE(at + 9),
      data: block.subarray(data, end),
    };
    at = end;
  }
}

/** What a sealed block is bound to. `invocation` is the id as text. */
export function outputAad(teamId: number, invocation: string, workerId: number, attempt: number, block: number): string {
  return `history-output|${teamId}|${invocation}|${workerId}|${attempt}|${block}`;
}

/** What a sealed payload of the history is bound to. `invocation` is the id as text. */
export function payloadAad(teamId: number, invocation: string): string {
  return `history-payload|${teamId}|${invocation}`;
}

/** What a sealed word that must not be stored is bound to. */
export function redactionAad(teamId: number, name: string): string {
  return `redaction|${teamId}|${name}`;
}

const DAY_MS = 86_400_000;

/**
 * The day (UTC, `2026-11-21`) whose partition keeps an invocation: that of the time in its id, unless the id's maker had a clock
 * that is more than a day wrong (or made no UUID of version 7); then the day of `nowMs`, when a broker took it.
 */
export function historyDay(id: Buffer, nowMs: number): string {
  const idMs = id.readUIntBE(0, 6);
  const trusted = (id[6] as number) >> 4 === 7 && Math.abs(nowMs - idMs) < DAY_MS;
  return dayOf(Math.floor((trusted ? idMs : nowMs) / DAY_MS));
}

let lastDay = { number: Number.NaN, text: '' };

/** Ids that come after each other mostly have the same day: writing it down costs more than all else here. */
function dayOf(number: number): string {
  if (number !== lastDay.number) lastDay = { number, text: new Date(number * DAY_MS).toISOString().slice(0, 10) };
  return lastDay.text;
}
