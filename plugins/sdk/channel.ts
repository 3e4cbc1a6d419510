import { Socket } from 'node:net';
import { FRAME_PROTOCOL, FrameReader, FrameType, FrameWriter } from './frames.ts';
import type { Handler, Outcome, Plan, Reply } from './message.ts';
import { OpenRun, type RunOutlet } from './open-run.ts';

const READ_BYTES = 256 * 1024;
/** How long the handler of a cancelled run may go on before the run is ended without it. */
const CANCEL_GRACE_MS = 1_000;
const STDIN = 0;
const STDOUT = 1;

/** How runs are done. */
export interface ChannelOptions {
  readonly handler: Handler;
  /** One run after another, in the order of their arrival. */
  readonly ordered: boolean;
  /** Called once, before the process ends. */
  readonly onEnd: () => Promise<void>;
}

/**
 * The plugin's side of the connection to its worker: standard input and output.
 * The process ends when the worker asks for it (STOP, after the open runs), closes the connection, or sends SIGTERM.
 */
export class Channel implements RunOutlet {
  readonly frames = new FrameWriter();
  readonly #handler: Handler;
  readonly #wantsReply: boolean;
  readonly #ordered: boolean;
  readonly #onEnd: () => Promise<void>;
  readonly #plans = new Map<number, Plan>();
  readonly #runs = new Map<number, OpenRun>();
  readonly #queue: OpenRun[] = [];
  readonly #reader = new FrameReader((type, _flags, number, source, start, end) => this.#frame(type, number, source, start, end));
  readonly #output = new Socket({ fd: STDOUT, readable: false, writable: true });
  #busy = false;
  #scheduled = false;
  #stopping = false;
  #ending = false;

  constructor(options: ChannelOptions) {
    this.#handler = options.handler;
    this.#wantsReply = options.handler.length !== 1;
    this.#ordered = options.ordered;
    this.#onEnd = options.onEnd;
  }

  /** Begins to read what the worker sends. */
  open(): void {
    const buffer = Buffer.allocUnsafeSlow(READ_BYTES);
    const input = new Socket({
      fd: STDIN,
      readable: true,
      writable: false,
      onread: {
        buffer,
        callback: (length) => {
          this.#reader.push(buffer, length);
          return true;
        },
      },
    });
    const gone = (): void => void this.#end();
    input.on('end', gone).on('error', gone);
    this.#output.on('error', gone);
    process.on('SIGTERM', gone);
    process.on('SIGINT', () => undefined);
  }

  wake(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(this.#flush);
  }

  ended(run: OpenRun): void {
    this.#runs.delete(run.number);
    if (this.#stopping && this.#runs.size === 0) void this.#end();
  }

  readonly #flush = (): void => {
    this.#scheduled = false;
    if (this.frames.length > 0) this.#output.write(this.frames.take());
  };

  #frame(type: number, number: number, source: Buffer, start: number, end: number): void {
    if (type === FrameType.run) this.#begin(number, source, start, end);
    else if (type === FrameType.credit) this.#runs.get(number)?.grant(source.readUInt32LE(start));
    else if (type === FrameType.plan) this.#plans.set(number, JSON.parse(source.toString('utf8', start, end)) as Plan);
    else if (type === FrameType.unplan) this.#plans.delete(number);
    else if (type === FrameType.cancel) this.#cancel(number);
    else if (type === FrameType.stop) this.#stop();
    else if (type === FrameType.hello) this.#greet();
  }

  #greet(): void {
    this.frames.json(FrameType.ready, 0, { protocol: FRAME_PROTOCOL });
    this.wake();
  }

  #begin(number: number, source: Buffer, start: number, end: number): void {
    const plan = this.#plans.get(source.readUInt32LE(start));
    if (plan === undefined) throw new Error('the worker sent a run without its plan');
    const run = new OpenRun(number, plan, this, source, start, end);
    this.#runs.set(number, run);
    if (!this.#ordered) {
      void this.#handle(run);
      return;
    }
    this.#queue.push(run);
    this.#next();
  }

  /** Ordered: starts the runs of the queue until one is not done at once. */
  #next(): void {
    while (!this.#busy) {
      const run = this.#queue.shift();
      if (run === undefined) return;
      if (run.closed) continue;
      const pending = this.#handle(run);
      if (pending === undefined) continue;
      this.#busy = true;
      void pending.finally(() => {
        this.#busy = false;
        this.#next();
      });
    }
  }

  /** Calls the handler; the promise of an asynchronous one never rejects. */
  #handle(run: OpenRun): Promise<void> | undefined {
    try {
      const outcome = this.#handler(run, this.#wantsReply ? run.reply() : (undefined as unknown as Reply));
      if (!(outcome instanceof Promise)) {
        run.end(outcome as Outcome);
        return undefined;
      }
      return outcome.then(
        (value) => run.end(value as Outcome),
        (error: unknown) => run.fail(error),
      );
    } catch (error) {
      run.fail(error);
      return undefined;
    }
  }

  #cancel(number: number): void {
    const run = this.#runs.get(number);
    if (run === undefined) return;
    run.abort();
    if (this.#queue.includes(run)) run.giveUp();
    else setTimeout(() => run.giveUp(), CANCEL_GRACE_MS).unref();
  }

  #stop(): void {
    this.#stopping = true;
    if (this.#runs.size === 0) void this.#end();
  }

  async #end(): Promise<void> {
    if (this.#ending) return;
    this.#ending = true;
    for (const run of this.#runs.values()) run.abort();
    await this.#onEnd();
    this.#flush();
    this.#output.end(() => process.exit(0));
    setTimeout(() => process.exit(0), CANCEL_GRACE_MS);
  }
}
