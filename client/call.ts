import { LIMITS } from '../protocol/limits.ts';
import type { Outcome } from '../protocol/outcome.ts';
import { INVOCATION_ID_BYTES } from '../protocol/records.ts';
import type { CallHandlers } from './answers.ts';
import type { ClientRoute, SendOptions } from './route.ts';
import type { Session } from './session.ts';

/** One request on its way. */
export interface Call {
  /** The 16 bytes of the invocation id, in a buffer of its own. */
  readonly invocation: Buffer;
  /** What the sender attached. */
  readonly tag: unknown;
  /** How often the request went out and was not turned away: more than once when a broker was lost meanwhile. */
  readonly sends: number;
  /** Its broker was lost, and it goes out again only after `resend`. */
  readonly held: boolean;
  /** Lets a run of the named worker send more output; needed only for calls with `manualCredit`. */
  grant(bytes: number, worker: string): void;
  /** Asks for the end of all runs. The verdict still comes; after it is certain, nothing happens. */
  cancel(): void;
  /** Lets a held request go out again. */
  resend(): void;
}

/** What has been delivered of one run, so that a replay after a fail-over is not delivered twice. */
export class RunProgress {
  readonly worker: number;
  nextSequence = 0;
  /** Bytes delivered since the last grant. */
  ungranted = 0;
  ended = false;

  constructor(worker: number) {
    this.worker = worker;
  }
}

/** What calls ask of the one who keeps them. */
export interface CallKeeper {
  grant(call: PendingCall, bytes: number, worker: string): void;
  cancel(call: PendingCall): void;
  resend(call: PendingCall): void;
}

/**
 * The state of one call; plain fields, because one is made for each message.
 *
 *   parked ──session ready──▶ sent ──RESULT with `last`──▶ done
 *     ▲                        │ session lost, broker draining
 *     └────────────────────────┘
 *
 * parked: `session` is null, the request is kept and goes out when a session opens (and, when it is `held`, its sender lets it).
 * sent:   `session` works on it.
 * Both become done at the deadline. Only CallTable changes the state.
 */
export class PendingCall implements Call {
  readonly #keeper: CallKeeper;
  readonly route: ClientRoute;
  readonly payload: Buffer;
  readonly handlers: CallHandlers;
  readonly tag: unknown;
  readonly credit: number;
  readonly manualCredit: boolean;
  /** Rises with each call, so that calls are sent again in the order in which they were made. */
  readonly order: number;
  number = 0;
  session: Session | null = null;
  done = false;
  /** The request went out at least once. */
  sent = false;
  sends = 0;
  held = false;
  cancelled = false;
  resume: boolean;
  resumeWorker: number;
  readonly detached: boolean;
  readonly once: boolean;
  /** Milliseconds for the wire; 0 is the service's default. */
  readonly timeoutMs: number;
  /** In milliseconds of performance.now(). */
  deadline = 0;
  /** Of the newest manifest: its attempt, and its worker when it names exactly one. */
  attempt = -1;
  manifestWorker = 0;
  firstRun: RunProgress | null = null;
  moreRuns: RunProgress[] | null = null;
  outcome: Outcome | null = null;
  // The invocation id as four words: cheaper than a buffer for each message.
  id0 = 0;
  id1 = 0;
  id2 = 0;
  id3 = 0;

  constructor(
    keeper: CallKeeper,
    route: ClientRoute,
    payload: Buffer,
    handlers: CallHandlers,
    order: number,
    timeoutMs: number,
    options: SendOptions,
  ) {
    this.#keeper = keeper;
    this.route = route;
    this.payload = payload;
    this.handlers = handlers;
    this.order = order;
    this.timeoutMs = timeoutMs;
    this.credit = options.creditBytes ?? LIMITS.initialCreditBytes;
    this.manualCredit = options.manualCredit === true;
    this.resume = options.resume === true;
    this.resumeWorker = options.resumeWorker ?? 0;
    this.detached = options.detached === true;
    this.once = options.once === true;
    this.tag = options.tag;
  }

  get invocation(): Buffer {
    const id = Buffer.allocUnsafe(INVOCATION_ID_BYTES);
    this.writeId(id, 0);
    return id;
  }

  grant(bytes: number, worker: string): void {
    this.#keeper.grant(this, bytes, worker);
  }

  cancel(): void {
    this.#keeper.cancel(this);
  }

  resend(): void {
    this.#keeper.resend(this);
  }

  /** Takes the invocation id from `source`. */
  readId(source: Buffer, offset: number): void {
    this.id0 = source.readInt32LE(offset);
    this.id1 = source.readInt32LE(offset + 4);
    this.id2 = source.readInt32LE(offset + 8);
    this.id3 = source.readInt32LE(offset + 12);
  }

  /** Writes the invocation id into `target`. */
  writeId(target: Buffer, offset: number): void {
    target.writeInt32LE(this.id0, offset);
    target.writeInt32LE(this.id1, offset + 4);
    target.writeInt32LE(this.id2, offset + 8);
    target.writeInt32LE(this.id3, offset + 12);
  }

  /** Progress of the run on this worker. */
  run(worker: number): RunProgress {
    const first = this.firstRun;
    if (first !== null && first.worker === worker) return first;
    if (first === null) {
      this.firstRun = new RunProgress(worker);
      return this.firstRun;
    }
    this.moreRuns ??= [];
    let run = this.moreRuns.find((candidate) => candidate.worker === worker);
    if (run === undefined) {
      run = new RunProgress(worker);
      this.moreRuns.push(run);
    }
    return run;
  }

  /** Forgets what was delivered: a new attempt counts its output from the start. */
  forgetRuns(): void {
    this.firstRun = null;
    this.moreRuns = null;
  }
}
