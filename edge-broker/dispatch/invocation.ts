import { INVOCATION_ID_BYTES, Layout } from '../../protocol/records.ts';
import type { InvocationRecord, RunRecord } from '../history/history-records.ts';
import type { Session } from '../session/session.ts';
import type { RouteEntry } from './route-entry.ts';
import type { ServiceState } from './service-state.ts';
import type { WorkerSession } from './worker-session.ts';

/**
 * One request and what became of it.
 *
 *   accepted ──first run ends or starts──▶ running ──last run ended──▶ done
 *
 * accepted: the caller has the manifest; runs may wait for capacity. done: the caller has a RESULT flagged `last`.
 * `openRuns` counts runs without a verdict, `remaining` the workers a serial service has not come to yet.
 */
export class Invocation {
  readonly session: Session;
  /** The caller's number for it. */
  readonly call: number;
  readonly entry: RouteEntry;
  readonly service: ServiceState;
  /** Body of the REQUEST: `request.subarray(bodyStart, bodyEnd)`. Kept as it came, so that a run can be moved. */
  readonly request: Buffer;
  readonly bodyStart: number;
  readonly bodyEnd: number;
  /** Time limit of one run, in milliseconds. */
  readonly timeoutMs: number;
  /** Goes on without its caller. */
  readonly detached: boolean;
  /** The request has been sent before: workers may know it. */
  readonly resumed: boolean;
  /** A run that may have begun is not moved: the caller has to know of each execution beforehand. */
  readonly once: boolean;
  /** Runs that have no verdict yet. */
  readonly openRuns: Run[] = [];
  /** When everything must have ended, in milliseconds since 1970. */
  deadline = 0;
  cancelled = false;
  done = false;
  /** The caller's session has ended; output is dropped. */
  orphaned = false;
  /** Serial services: workers still to come, in order. */
  remaining: number[] = [];
  errors = 0;
  /** What the history keeps of it; null for nothing. */
  record: InvocationRecord | null = null;

  constructor(init: {
    session: Session;
    entry: RouteEntry;
    service: ServiceState;
    request: Buffer;
    bodyStart: number;
    bodyEnd: number;
    timeoutMs: number;
    detached: boolean;
    resumed: boolean;
    once: boolean;
  }) {
    this.session = init.session;
    this.call = init.request.readUInt32LE(init.bodyStart + Layout.request.call);
    this.entry = init.entry;
    this.service = init.service;
    this.request = init.request;
    this.bodyStart = init.bodyStart;
    this.bodyEnd = init.bodyEnd;
    this.timeoutMs = init.timeoutMs;
    this.detached = init.detached;
    this.resumed = init.resumed;
    this.once = init.once;
  }

  /** The invocation id; a view into the request. */
  get id(): Buffer {
    const start = this.bodyStart + Layout.request.invocation;
    return this.request.subarray(start, start + INVOCATION_ID_BYTES);
  }

  /** Output bytes each run may send at first. */
  get credit(): number {
    return this.request.readUInt32LE(this.bodyStart + Layout.request.credit);
  }
}

/**
 * The execution of an invocation on one worker; ends in exactly one verdict.
 *
 *   waiting ──TASK──▶ handed ──STARTED──▶ started ──RESULT, loss, deadline──▶ (removed)
 *
 * waiting: in a queue, `worker` is null. handed: the worker has it and may be lost without harm.
 * started: the plugin may have had effects; it moves only when the service says `failover = always`.
 */
export class Run {
  readonly invocation: Invocation;
  /** Number in TASK and its answers; 0 while waiting. */
  number = 0;
  worker: WorkerSession | null = null;
  /** Worker of the previous attempt, by id. Moving to another one raises the attempt. */
  previousWorker = 0;
  attempt = 0;
  started = false;
  ended = false;
  /** Only this worker (by id) may take it; 0 for any member. */
  readonly only: number;
  /** Output bytes the worker may still send. */
  credit = 0;
  /** When the broker ends it by itself, in milliseconds since 1970. */
  deadline = 0;
  handedAt = 0;
  /** What the history keeps of it, once it has begun. */
  record: RunRecord | null = null;
  /** Credit of its reader that waits until the history has caught up. */
  heldCredit = 0;

  constructor(invocation: Invocation, only: number) {
    this.invocation = invocation;
    this.only = only;
    this.credit = invocation.credit;
    this.deadline = invocation.deadline;
  }
}
