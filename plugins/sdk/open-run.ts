import { FrameFlag, FrameLayout, FrameType, type FrameWriter, MAX_OUTPUT_BYTES } from './frames.ts';
import type { Message, Outcome, Plan, Reply } from './message.ts';

const Layout = FrameLayout.run;
const EMPTY = Buffer.alloc(0);
/** Exit code of a run that was cancelled: what a shell shows for SIGTERM. */
const EXIT_CANCELLED = 143;
const EXIT_FAILED = 1;

/** What a run needs from the connection to the worker. */
export interface RunOutlet {
  /** Frames written here leave at the end of the turn. */
  readonly frames: FrameWriter;
  /** Says that `frames` has something to send. */
  wake(): void;
  /** The run has sent its DONE. */
  ended(run: OpenRun): void;
}

interface Waiting {
  readonly flags: number;
  readonly data: Uint8Array;
  readonly sent: () => void;
}

/**
 * One run inside the plugin's process, seen by the handler as its message.
 * Output beyond the reader's credit waits here; DONE follows the last byte of it.
 */
export class OpenRun implements Message {
  readonly number: number;
  readonly attempt: number;
  readonly #plan: Plan;
  readonly #outlet: RunOutlet;
  readonly #body: Buffer;
  #payload: Buffer | null = null;
  #credit: number;
  #waiting: Waiting[] | null = null;
  #exitCode = -1;
  #closed = false;
  #controller: AbortController | null = null;
  #aborted = false;

  /** Reads a RUN frame; the body is copied, because the buffer is used again. */
  constructor(number: number, plan: Plan, outlet: RunOutlet, source: Buffer, start: number, end: number) {
    this.number = number;
    this.#plan = plan;
    this.#outlet = outlet;
    this.#credit = source.readUInt32LE(start + Layout.credit);
    this.attempt = source.readUInt32LE(start + Layout.attempt);
    this.#body = Buffer.allocUnsafe(end - start - Layout.invocation);
    source.copy(this.#body, 0, start + Layout.invocation, end);
  }

  get payload(): Buffer {
    this.#payload ??= this.#body.subarray(Layout.payload - Layout.invocation);
    return this.#payload;
  }

  text(): string {
    return this.#body.toString('utf8', Layout.payload - Layout.invocation);
  }

  get args(): Plan['args'] {
    return this.#plan.args;
  }

  get service(): string {
    return this.#plan.service;
  }

  get caller(): string {
    return this.#plan.caller;
  }

  get team(): string {
    return this.#plan.team;
  }

  get invocation(): string {
    const hex = this.#body.toString('hex', 0, Layout.payload - Layout.invocation);
    return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
  }

  get signal(): AbortSignal {
    this.#controller ??= new AbortController();
    if (this.#aborted) this.#controller.abort();
    return this.#controller.signal;
  }

  /** The run was cancelled. */
  get aborted(): boolean {
    return this.#aborted;
  }

  /** DONE was sent; what still comes from the handler is dropped. */
  get closed(): boolean {
    return this.#closed;
  }

  /** The handler's way to send output. */
  reply(): Reply {
    const reply = (chunk: string | Uint8Array): Promise<void> | undefined => this.#send(0, chunk);
    return Object.assign(reply, { error: (chunk: string | Uint8Array) => this.#send(FrameFlag.stderr, chunk) });
  }

  /** Ends the run with what its handler returned. */
  end(outcome: Outcome): void {
    if (typeof outcome === 'number') this.#finish(outcome & 0xff, EMPTY);
    else this.#finish(this.#aborted ? EXIT_CANCELLED : 0, outcome === undefined ? EMPTY : bytesOf(outcome));
  }

  /** Ends the run with what its handler threw. */
  fail(error: unknown): void {
    if (!this.#aborted) void this.#send(FrameFlag.stderr, `${error instanceof Error ? error.message : String(error)}\n`);
    this.#finish(this.#aborted ? EXIT_CANCELLED : EXIT_FAILED, EMPTY);
  }

  /** Tells the handler to stop. */
  abort(): void {
    this.#aborted = true;
    this.#controller?.abort();
  }

  /** Ends a cancelled run whose handler does not stop, and drops what it has not sent. */
  giveUp(): void {
    if (this.#closed) return;
    for (const { sent } of this.#waiting ?? []) sent();
    this.#waiting = null;
    this.#close(EXIT_CANCELLED, EMPTY);
  }

  /** The reader takes this many bytes more. */
  grant(bytes: number): void {
    this.#credit += bytes;
    const waiting = this.#waiting;
    while (waiting !== null && waiting.length > 0) {
      const { flags, data, sent } = waiting[0] as Waiting;
      const part = data.subarray(0, this.#credit);
      if (part.length > 0) this.#output(flags, part);
      if (part.length < data.length) {
        waiting[0] = { flags, data: data.subarray(part.length), sent };
        return;
      }
      waiting.shift();
      sent();
    }
    this.#waiting = null;
    if (this.#exitCode >= 0) this.#close(this.#exitCode, EMPTY);
  }

  #send(flags: number, chunk: string | Uint8Array): Promise<void> | undefined {
    if (this.#closed || this.#exitCode >= 0) return undefined;
    const data = bytesOf(chunk);
    if (this.#waiting === null && data.length <= this.#credit) {
      this.#output(flags, data);
      return undefined;
    }
    return new Promise((sent) => {
      this.#waiting ??= [];
      this.#waiting.push({ flags, data: typeof chunk === 'string' ? data : Uint8Array.prototype.slice.call(data), sent });
      if (this.#waiting.length === 1) this.grant(0);
    });
  }

  #output(flags: number, data: Uint8Array): void {
    const { frames } = this.#outlet;
    for (let offset = 0; offset < data.length; offset += MAX_OUTPUT_BYTES) {
      const part = data.subarray(offset, offset + MAX_OUTPUT_BYTES);
      const at = frames.reserve(FrameType.output, flags, this.number, part.length);
      frames.buffer.set(part, at);
    }
    this.#credit -= data.length;
    this.#outlet.wake();
  }

  #finish(exitCode: number, last: Uint8Array): void {
    if (this.#closed || this.#exitCode >= 0) return;
    if (this.#waiting === null && last.length <= this.#credit && last.length <= MAX_OUTPUT_BYTES) {
      this.#close(exitCode, last);
      return;
    }
    if (last.length > 0) void this.#send(0, last);
    if (this.#waiting === null) this.#close(exitCode, EMPTY);
    else this.#exitCode = exitCode;
  }

  #close(exitCode: number, last: Uint8Array): void {
    this.#closed = true;
    const { frames } = this.#outlet;
    const at = frames.reserve(FrameType.done, 0, this.number, FrameLayout.done.output + last.length);
    frames.buffer.writeUInt16LE(exitCode, at + FrameLayout.done.exitCode);
    if (last.length > 0) frames.buffer.set(last, at + FrameLayout.done.output);
    this.#outlet.wake();
    this.#outlet.ended(this);
  }
}

function bytesOf(chunk: string | Uint8Array): Uint8Array {
  return typeof chunk === 'string' ? Buffer.from(chunk) : chunk;
}
