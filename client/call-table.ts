import { type ErrorCode, TriggerFsError } from '../protocol/errors.ts';
import { LIMITS } from '../protocol/limits.ts';
import { joinOutcome, type RunVerdict } from '../protocol/outcome.ts';
import { INVOCATION_ID_BYTES } from '../protocol/records.ts';
import type { VerdictName } from '../protocol/verdicts.ts';
import { InvocationIds } from '../runtime/wire/invocation-id.ts';
import { SLOT_LIMIT, SlotTable } from '../runtime/wire/slot-table.ts';
import type { CallHandlers } from './answers.ts';
import { type Call, type CallKeeper, PendingCall } from './call.ts';
import { ClientRoute, type RouteRule, type SendOptions } from './route.ts';
import type { Session } from './session.ts';

/** Deadlines and retries are looked after this often: one timer for all calls. */
const TICK_MS = 50;
/** How long after its deadline a call on a live session waits for the broker's own verdict. */
const GRACE_MS = 2 * LIMITS.deadlineGraceMs;
/** How long a cancelled call waits for its verdict: the worker may need to kill the process group. */
const CANCEL_MS = LIMITS.killGraceMs + LIMITS.deadlineGraceMs;
const NO_OPTIONS: SendOptions = Object.freeze({});

/** Where calls go: the fleet. */
export interface SessionSource {
  /** The session for new calls; null while there is none. */
  readonly primary: Session | null;
  /** Every session, open or not. */
  readonly sessions: Iterable<Session>;
}

/** All calls on their way: sends them, sends them again on another session when theirs is lost, and ends each exactly once. */
export class CallTable implements CallKeeper {
  readonly #source: SessionSource;
  readonly #calls = new SlotTable<PendingCall>();
  readonly #ids = new InvocationIds();
  readonly #id = Buffer.alloc(INVOCATION_ID_BYTES);
  #routes = 0;
  #order = 0;
  #parked = 0;
  #timer: NodeJS.Timeout | null = null;
  #released: NodeJS.Immediate | null = null;
  /** Why calls cannot be sent at all: ends those that wait. */
  #fault: TriggerFsError | null = null;
  #closed = false;

  constructor(source: SessionSource) {
    this.#source = source;
  }

  /** Calls that are not done. */
  get size(): number {
    return this.#calls.size;
  }

  /** Registers a rule. */
  openRoute(rule: RouteRule): ClientRoute {
    this.#routes += 1;
    return new ClientRoute(rule, this.#routes, this);
  }

  /** Tells the brokers that a rule's number is not used any more. */
  closeRoute(route: ClientRoute): void {
    for (const session of this.#source.sessions) session.unroute(route.number);
  }

  /** See `ClientRoute.send`. */
  send(route: ClientRoute, payload: Buffer, handlers: CallHandlers, options: SendOptions = NO_OPTIONS): Call {
    const timeoutMs = options.timeoutMs ?? 0;
    this.#check(route, payload, timeoutMs, options.invocation);
    this.#order += 1;
    const call = new PendingCall(this, route, payload, handlers, this.#order, timeoutMs, options);
    if (options.invocation === undefined) {
      this.#ids.write(this.#id, 0);
      call.readId(this.#id, 0);
    } else {
      call.readId(options.invocation, 0);
    }
    call.deadline = performance.now() + (timeoutMs || LIMITS.defaultTimeoutMs);
    call.number = this.#calls.add(call);
    this.#timer ??= setInterval(this.#tick, TICK_MS);
    const { primary } = this.#source;
    if (primary === null || this.#mustWait(route, primary)) this.#park(call);
    else this.#transmit(call, primary, timeoutMs);
    return call;
  }

  /** The call with this number if it is on this session. */
  find(number: number, session: Session): PendingCall | undefined {
    const call = this.#calls.get(number);
    return call?.session === session ? call : undefined;
  }

  grant(call: PendingCall, bytes: number, worker: string): void {
    const { session } = call;
    if (session === null || bytes <= 0) return;
    const number = session.workerNumber(worker);
    if (number !== 0) session.credit(call.number, number, bytes);
  }

  cancel(call: PendingCall): void {
    if (call.done || call.cancelled) return;
    call.cancelled = true;
    call.deadline = Math.min(call.deadline, performance.now() + CANCEL_MS);
    if (call.session !== null) call.session.cancel(call.number, false);
    else if (!call.sent) this.#end(call, 'cancelled', 'TFS_CANCELLED', 'cancelled before it was sent');
  }

  resend(call: PendingCall): void {
    if (!call.held || call.done) return;
    call.held = false;
    // Mostly many are let go at once.
    this.#released ??= setImmediate(() => {
      this.#released = null;
      this.flush();
    });
  }

  /** A session opened or another one became the primary: what waits goes out, in the order of its sending. */
  flush(): void {
    const { primary } = this.#source;
    if (this.#parked === 0 || primary === null || primary.draining) return;
    const now = performance.now();
    const waiting = [...this.#calls.values()].filter((call) => call.session === null && !call.held && call.deadline > now);
    for (const call of waiting.sort((a, b) => a.order - b.order)) {
      if (this.#mustWait(call.route, primary, true)) continue;
      this.#parked -= 1;
      call.route.parked -= 1;
      this.#transmit(call, primary, call.timeoutMs === 0 ? 0 : Math.max(1, Math.min(call.timeoutMs, Math.round(call.deadline - now))));
      if (call.cancelled) primary.cancel(call.number, false);
    }
  }

  /** A session is gone: its calls go out again elsewhere, marked as possibly executed. */
  sessionLost(session: Session): void {
    if (session.inFlight > 0) {
      for (const call of this.#calls.values()) {
        if (call.session !== session) continue;
        call.resume = true;
        this.#detach(call);
        this.#park(call);
        call.held = call.handlers.lost !== undefined;
        call.handlers.lost?.(call);
      }
    }
    this.flush();
  }

  /** The broker did not begin a call because it shuts down: another one takes it, at the next tick. */
  turnedAway(call: PendingCall): void {
    call.sent = call.resume;
    call.sends -= 1;
    this.#detach(call);
    this.#park(call);
  }

  /** Counts a run's verdict; `last` ends the call. */
  runEnded(call: PendingCall, verdict: RunVerdict, last: boolean): void {
    call.outcome = joinOutcome(call.outcome, verdict);
    call.handlers.verdict?.(call, verdict);
    if (last) this.finish(call);
  }

  /** Ends a call with what its runs amount to. */
  finish(call: PendingCall): void {
    if (call.done) return;
    call.done = true;
    if (call.session === null) {
      this.#parked -= 1;
      call.route.parked -= 1;
    } else {
      this.#detach(call);
    }
    this.#calls.remove(call.number);
    if (call.route.parked > 0 && call.route.inFlight === 0) this.flush();
    if (call.outcome !== null) call.handlers.done(call, call.outcome);
  }

  /** Sets or clears the reason why nothing can be sent. Calls on open sessions go on. */
  fault(error: TriggerFsError | null): void {
    this.#fault = error;
  }

  /** Ends all calls and takes no more. */
  close(): void {
    this.#closed = true;
    for (const call of this.#calls.values()) {
      if (!call.detached && !call.cancelled) call.session?.cancel(call.number, false);
      this.#end(call, 'cancelled', 'TFS_CANCELLED', 'the client was stopped');
    }
    this.#stopTimer();
  }

  #check(route: ClientRoute, payload: Buffer, timeoutMs: number, invocation: Buffer | undefined): void {
    if (payload.length > LIMITS.payloadBytes) {
      throw new TriggerFsError('TFS_TOO_LARGE', `a message of ${payload.length} bytes is above the limit of ${LIMITS.payloadBytes}`);
    }
    if (!Number.isInteger(timeoutMs) || timeoutMs < 0 || timeoutMs > LIMITS.maxTimeoutMs) {
      throw new TriggerFsError('TFS_BAD_TIMEOUT', `a timeout of ${timeoutMs} ms is not possible`);
    }
    if (invocation !== undefined && invocation.length !== INVOCATION_ID_BYTES) {
      throw new TriggerFsError('TFS_BAD_REQUEST', `an invocation id has ${INVOCATION_ID_BYTES} bytes, not ${invocation.length}`);
    }
    if (this.#closed || route.closed) throw new TriggerFsError('TFS_UNAVAILABLE', 'the client or its route was closed');
    if (this.#calls.size >= SLOT_LIMIT) throw new TriggerFsError('TFS_BUSY', `more than ${SLOT_LIMIT} calls at once`);
  }

  /** Ordered calls do not overtake: neither those that wait nor those on another session. */
  #mustWait(route: ClientRoute, primary: Session, flushing = false): boolean {
    if (route.rule.ordered !== true) return false;
    return (!flushing && route.parked > 0) || (route.inFlight > 0 && route.session !== primary);
  }

  #transmit(call: PendingCall, session: Session, timeoutMs: number): void {
    call.session = session;
    call.sent = true;
    call.sends += 1;
    call.route.session = session;
    call.route.inFlight += 1;
    session.inFlight += 1;
    session.request(call, timeoutMs);
  }

  #park(call: PendingCall): void {
    this.#parked += 1;
    call.route.parked += 1;
  }

  #detach(call: PendingCall): void {
    if (call.session === null) return;
    call.session.inFlight -= 1;
    call.route.inFlight -= 1;
    call.session = null;
  }

  readonly #tick = (): void => {
    if (this.#calls.size === 0) {
      this.#stopTimer();
      return;
    }
    const now = performance.now();
    for (const call of this.#calls.values()) {
      if (call.session !== null ? now > call.deadline + GRACE_MS : now > call.deadline || this.#fault !== null) this.#expire(call);
    }
    this.flush();
  };

  #expire(call: PendingCall): void {
    if (call.cancelled) {
      this.#end(call, 'cancelled', 'TFS_CANCELLED', 'cancelled; its end was not confirmed');
    } else if (call.session !== null) {
      call.session.cancel(call.number, true);
      this.#end(call, 'timeout', 'TFS_TIMEOUT', 'no verdict came in time');
    } else if (this.#fault !== null) {
      this.#end(call, 'denied', this.#fault.code, this.#fault.message);
    } else if (call.sent) {
      this.#end(call, 'worker-lost', 'TFS_BROKER_LOST', 'the broker was lost and no other one took over in time');
    } else {
      this.#end(call, 'no-worker', 'TFS_NO_BROKER', 'no broker could be reached in time');
    }
  }

  #end(call: PendingCall, verdict: VerdictName, error: ErrorCode, detail: string): void {
    this.runEnded(call, { worker: '', verdict, exitCode: 0, signal: 0, attempt: 0, durationUs: 0, error, detail }, true);
  }

  #stopTimer(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
  }
}
