import type { Sink } from './sink.ts';
import { completeLength, harmless } from './terminal-text.ts';

const NEWLINE = 0x0a;
const RETURN = 0x0d;
/** A line that stays unfinished for so long is shown as far as it has come: it may be a question. */
const PAUSE_MS = 40;
/** An unfinished line is shown in pieces of this size, so that output without line ends needs no memory. */
const MAX_PARTIAL_BYTES = 64 * 1024;
const RED = '\x1b[31m';
const PLAIN = '\x1b[39m';

/** Where the lines of one stream of one worker go, and the part of its last line that has no end yet. */
interface Lane {
  readonly sink: Sink;
  readonly prefix: string;
  readonly red: boolean;
  partial: Buffer;
  /** A part of the unfinished line stands on the screen already. */
  shown: boolean;
}

/** Prints output in whole lines with a prefix. Lines of several workers and streams are never mixed. */
export class LinePrinter {
  /** Lines begun so far. */
  lines = 0;
  readonly #lanes = new Map<string, Lane>();
  readonly #colour: boolean;
  readonly #oneScreen: boolean;
  readonly #out: Sink;
  readonly #err: Sink;
  #timer: NodeJS.Timeout | null = null;
  /** Collected for one write to one sink. */
  #pending: Buffer[] = [];
  #pendingSink: Sink | null = null;

  constructor(out: Sink, err: Sink, colour: boolean) {
    this.#out = out;
    this.#err = err;
    this.#colour = colour;
    this.#oneScreen = out.isTTY && err.isTTY;
  }

  /** Prints the lines that `data` completes and keeps the rest. */
  write(prefix: string, stderr: boolean, data: Buffer): void {
    const lane = this.#lane(prefix, stderr);
    let from = 0;
    for (let end = data.indexOf(NEWLINE); end >= 0; end = data.indexOf(NEWLINE, from)) {
      this.#print(lane, joined(lane.partial, data.subarray(from, end)), true);
      lane.partial = Buffer.alloc(0);
      from = end + 1;
    }
    if (from < data.length) {
      lane.partial = joined(lane.partial, data.subarray(from));
      if (lane.partial.length > MAX_PARTIAL_BYTES) this.#showPartial(lane);
      else this.#timer ??= setTimeout(this.#showPartials, PAUSE_MS);
    }
    this.#flush();
  }

  /** Ends all unfinished lines. */
  end(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = null;
    for (const lane of this.#lanes.values()) {
      if (lane.partial.length > 0 || lane.shown) this.#print(lane, lane.partial, true);
      lane.partial = Buffer.alloc(0);
    }
    this.#flush();
  }

  readonly #showPartials = (): void => {
    this.#timer = null;
    for (const lane of this.#lanes.values()) this.#showPartial(lane);
    this.#flush();
  };

  #showPartial(lane: Lane): void {
    const length = completeLength(lane.partial);
    if (length === 0) return;
    this.#print(lane, lane.partial.subarray(0, length), false);
    lane.partial = lane.partial.subarray(length);
  }

  #print(lane: Lane, line: Buffer, whole: boolean): void {
    this.#interrupt(lane);
    const prefix = lane.shown ? '' : lane.prefix;
    if (!lane.shown) this.lines += 1;
    lane.shown = !whole;
    const end = whole ? '\n' : '';
    if (lane.sink.isTTY) {
      const text = prefix + harmless(withoutReturn(line, whole).toString());
      this.#emit(lane.sink, Buffer.from(lane.red ? `${RED}${text}${PLAIN}${end}` : `${text}${end}`));
    } else {
      this.#emit(lane.sink, Buffer.from(prefix), line, Buffer.from(end));
    }
  }

  #emit(sink: Sink, ...parts: Buffer[]): void {
    if (this.#pendingSink !== sink) this.#flush();
    this.#pendingSink = sink;
    this.#pending.push(...parts);
  }

  #flush(): void {
    this.#pendingSink?.write(Buffer.concat(this.#pending));
    this.#pending = [];
    this.#pendingSink = null;
  }

  /** Another lane's unfinished line on the same screen gets its end first; it goes on in a line of its own. */
  #interrupt(lane: Lane): void {
    for (const other of this.#lanes.values()) {
      if (other === lane || !other.shown || (other.sink !== lane.sink && !this.#oneScreen)) continue;
      this.#emit(other.sink, Buffer.from('\n'));
      other.shown = false;
    }
  }

  #lane(prefix: string, stderr: boolean): Lane {
    const key = `${stderr ? 'e' : 'o'}${prefix}`;
    let lane = this.#lanes.get(key);
    if (lane === undefined) {
      const sink = stderr ? this.#err : this.#out;
      lane = { sink, prefix, red: stderr && this.#colour && sink.isTTY, partial: Buffer.alloc(0), shown: false };
      this.#lanes.set(key, lane);
    }
    return lane;
  }
}

function joined(first: Buffer, second: Buffer): Buffer {
  return first.length === 0 ? second : Buffer.concat([first, second]);
}

function withoutReturn(line: Buffer, whole: boolean): Buffer {
  return whole && line[line.length - 1] === RETURN ? line.subarray(0, -1) : line;
}
