import { LIMITS } from '../protocol/limits.ts';
import type { Manifest, Outcome, RunVerdict } from '../protocol/outcome.ts';
import type { CallHandlers } from './answers.ts';
import type { Call } from './call.ts';
import type { ClientRoute } from './route.ts';

/** One invocation to run. */
export interface InvokeRequest {
  /** `service` or `team/service`. */
  readonly service: string;
  readonly plugin: string;
  readonly payload: Buffer | string;
  readonly args?: Readonly<Record<string, string>>;
  /** Milliseconds; the service's default when absent. */
  readonly timeoutMs?: number;
  /** Aborting cancels the runs; the verdict is still awaited. */
  readonly signal?: AbortSignal;
  /** Output bytes that may be on their way or unread for each run. */
  readonly creditBytes?: number;
}

/** A piece of output as it came. */
export interface OutputChunk {
  readonly worker: string;
  readonly stream: 'stdout' | 'stderr';
  readonly sequence: number;
  readonly data: Buffer;
}

/** Everything that happens in an invocation, in order. */
export type InvocationEvent =
  | { readonly kind: 'manifest'; readonly manifest: Manifest }
  | { readonly kind: 'output'; readonly chunk: OutputChunk }
  | { readonly kind: 'verdict'; readonly verdict: RunVerdict }
  | { readonly kind: 'done'; readonly outcome: Outcome };

/**
 * A running invocation: iterate it for the output as it comes, await `outcome` for its end (which never rejects).
 * While it is iterated, more output is asked for only as fast as it is taken, so that memory stays bounded however much
 * a plugin prints. Output of an invocation whose outcome alone is awaited is dropped.
 */
export class Invocation implements AsyncIterable<OutputChunk> {
  /** Verdicts of the runs that have ended. */
  readonly verdicts: RunVerdict[] = [];
  /** Resolves with the first manifest; null when the invocation ended without one. */
  readonly manifest: Promise<Manifest | null>;
  readonly #outcome = Promise.withResolvers<Outcome>();
  readonly #call: Call;
  readonly #queue: InvocationEvent[] = [];
  /** hold: nobody has said what is wanted yet; the credit bounds what collects. */
  #mode: 'hold' | 'read' | 'drop' = 'hold';
  #wake: (() => void) | null = null;
  readonly #credit: number;
  /** Bytes taken since the last grant, by worker. */
  readonly #ungranted = new Map<string, number>();

  constructor(route: ClientRoute, request: InvokeRequest) {
    const manifest = Promise.withResolvers<Manifest | null>();
    this.manifest = manifest.promise;
    const { signal } = request;
    const cancel = (): void => this.cancel();
    const handlers: CallHandlers = {
      manifest: (value) => {
        manifest.resolve(value);
        this.#push({ kind: 'manifest', manifest: value });
      },
      output: (_call, data, stderr, worker, sequence) => this.#output(data, stderr, worker, sequence),
      verdict: (_call, verdict) => {
        this.verdicts.push(verdict);
        this.#push({ kind: 'verdict', verdict });
      },
      done: (_call, outcome) => {
        signal?.removeEventListener('abort', cancel);
        manifest.resolve(null);
        this.#outcome.resolve(outcome);
        this.#push({ kind: 'done', outcome });
      },
    };
    this.#credit = request.creditBytes ?? LIMITS.initialCreditBytes;
    const payload = typeof request.payload === 'string' ? Buffer.from(request.payload) : request.payload;
    const { timeoutMs } = request;
    const options = { manualCredit: true, creditBytes: this.#credit };
    this.#call = route.send(payload, handlers, timeoutMs === undefined ? options : { ...options, timeoutMs });
    signal?.addEventListener('abort', cancel, { once: true });
    if (signal?.aborted === true) queueMicrotask(cancel);
  }

  /** The 16 bytes of the invocation id. */
  get id(): Buffer {
    return this.#call.invocation;
  }

  /** How it ends. */
  get outcome(): Promise<Outcome> {
    queueMicrotask(() => {
      if (this.#mode === 'hold') this.#drop();
    });
    return this.#outcome.promise;
  }

  /** Asks for the end of all runs; the outcome still comes. */
  cancel(): void {
    this.#call.cancel();
  }

  /** The output, in order. Leaving the loop early cancels the invocation. */
  async *[Symbol.asyncIterator](): AsyncGenerator<OutputChunk, void, undefined> {
    for await (const event of this.events()) if (event.kind === 'output') yield event.chunk;
  }

  /** Everything that happens, in order, ending with `done`. Leaving the loop early cancels the invocation. */
  async *events(): AsyncGenerator<InvocationEvent, void, undefined> {
    this.#mode = 'read';
    try {
      for (;;) {
        const event = this.#queue.shift() ?? (await this.#next());
        yield event;
        if (event.kind === 'output') this.#taken(event.chunk.worker, event.chunk.data.length);
        if (event.kind === 'done') return;
      }
    } finally {
      this.#drop();
      this.cancel();
    }
  }

  async #next(): Promise<InvocationEvent> {
    for (;;) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      const event = this.#queue.shift();
      if (event !== undefined) return event;
    }
  }

  #output(data: Buffer, stderr: boolean, worker: string, sequence: number): void {
    if (this.#mode === 'drop') this.#taken(worker, data.length);
    else this.#push({ kind: 'output', chunk: { worker, stream: stderr ? 'stderr' : 'stdout', sequence, data: Buffer.from(data) } });
  }

  #drop(): void {
    this.#mode = 'drop';
    for (const event of this.#queue.splice(0)) {
      if (event.kind === 'output') this.#taken(event.chunk.worker, event.chunk.data.length);
    }
  }

  /** Grants what was taken, a quarter of the credit at a time: not a record for each line. */
  #taken(worker: string, bytes: number): void {
    const taken = (this.#ungranted.get(worker) ?? 0) + bytes;
    const grant = taken >= this.#credit / 4;
    this.#ungranted.set(worker, grant ? 0 : taken);
    if (grant) this.#call.grant(taken, worker);
  }

  #push(event: InvocationEvent): void {
    if (this.#mode === 'drop') return;
    this.#queue.push(event);
    const wake = this.#wake;
    this.#wake = null;
    wake?.();
  }
}
