import { LIMITS } from '../../protocol/limits.ts';
import type { Manifest, Outcome, RunVerdict } from '../../protocol/outcome.ts';
import type { CallerRoute } from './caller-routes.ts';

/** A piece of output. `data` is valid during the call only. */
export interface OutputPiece {
  /** Number of the worker, for `Call.consumed`. */
  readonly worker: number;
  /** Identity of the worker. */
  readonly identity: string;
  readonly stream: 'stdout' | 'stderr';
  /** Number of the piece within its run. */
  readonly sequence: number;
  readonly data: Buffer;
}

/** Receives what happens to a call, in order. `done` comes exactly once. */
export interface CallSink {
  manifest(manifest: Manifest): void;
  output(piece: OutputPiece): void;
  verdict(verdict: RunVerdict): void;
  done(outcome: Outcome): void;
}

/** What a call asks of the session it belongs to. */
export interface CallKeeper {
  /** Lets a run send more output. */
  grant(call: Call, worker: number, bytes: number): void;
  /** Asks for the end of all runs. */
  cancel(call: Call): void;
}

/** One invocation that came over HTTP, on its way. */
export class Call {
  /** Invocation id as text. */
  readonly invocation: string;
  readonly route: CallerRoute;
  readonly sink: CallSink;
  /** Number in the session's records; set once it is known. */
  number = 0;
  /** The runs so far, joined. */
  outcome: Outcome | null = null;
  done = false;
  #cancelled = false;
  readonly #keeper: CallKeeper;
  readonly #ungranted = new Map<number, number>();

  constructor(keeper: CallKeeper, invocation: string, route: CallerRoute, sink: CallSink) {
    this.#keeper = keeper;
    this.invocation = invocation;
    this.route = route;
    this.sink = sink;
  }

  /** Output has been passed on: the run may send as much again. Small amounts are granted together. */
  consumed(worker: number, bytes: number): void {
    const owed = (this.#ungranted.get(worker) ?? 0) + bytes;
    const due = owed >= LIMITS.initialCreditBytes / 2;
    this.#ungranted.set(worker, due ? 0 : owed);
    if (due && !this.done) this.#keeper.grant(this, worker, owed);
  }

  /** Asks for the end of all runs; `done` still comes. */
  cancel(): void {
    if (this.done || this.#cancelled) return;
    this.#cancelled = true;
    this.#keeper.cancel(this);
  }
}
