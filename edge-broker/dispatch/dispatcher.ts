import { ERRORS, type ErrorCode } from '../../protocol/errors.ts';
import { LIMITS } from '../../protocol/limits.ts';
import { Layout, RecordFlag, RecordType } from '../../protocol/records.ts';
import { Verdict } from '../../protocol/verdicts.ts';
import { SlotTable } from '../../runtime/wire/slot-table.ts';
import type { Directory } from '../directory/directory.ts';
import { timeoutOf } from '../directory/directory.ts';
import type { Recorder } from '../history/recorder.ts';
import type { Session } from '../session/session.ts';
import { askAgain, type BrokerVerdict, writeVerdict } from './answers.ts';
import { CreditGate } from './credit-gate.ts';
import { Invocation, type Run } from './invocation.ts';
import { Placement } from './placement.ts';
import { Resolver } from './resolver.ts';
import type { RouteEntry } from './route-entry.ts';
import { limitOf, startInvocation, takeNext } from './strategies.ts';
import type { WorkerSession } from './worker-session.ts';

const CANCELLED: BrokerVerdict = { verdict: Verdict.cancelled, error: 'TFS_CANCELLED', detail: 'cancelled by the caller' };

/** Counters of the dispatcher; metrics read them. */
export interface DispatchCounters {
  requests: number;
  /** Requests that came from trigger files. */
  hits: number;
  outputBytes: number;
  verdicts: number[];
}

/**
 * Routes requests to workers and their answers back. Everything here happens within one turn of the event loop
 * and without promises; times come from a clock that is read once a batch.
 */
export class Dispatcher {
  readonly counters: DispatchCounters = { requests: 0, hits: 0, outputBytes: 0, verdicts: new Array<number>(9).fill(0) };
  /** Hits of trigger files since they were last collected. */
  hits = new Map<number, number>();
  /** Set while the broker shuts down: new requests are refused. */
  draining = false;
  /** Set while too many bytes wait for slow readers. */
  overloaded = false;
  readonly #directory: Directory;
  readonly #resolver: Resolver;
  readonly #runs = new SlotTable<Run>();
  readonly #placement: Placement;
  readonly #recorder: Recorder;
  readonly #gate: CreditGate;
  #now = Date.now();

  /** `settleMs`: how long after its start the broker waits for workers that it expects (they may still be reconnecting). */
  constructor(directory: Directory, recorder: Recorder, settleMs: number) {
    this.#directory = directory;
    this.#resolver = new Resolver(directory);
    this.#recorder = recorder;
    this.#gate = new CreditGate(recorder);
    const finish = (run: Run, given: BrokerVerdict): void => this.#finish(run, given);
    this.#placement = new Placement({ runs: this.#runs, finish, recorder, gate: this.#gate, settledAt: Date.now() + settleMs });
    directory.onChange((teamId) => this.#configChanged(teamId));
  }

  /** Runs without a verdict. */
  get openRuns(): number {
    return this.#runs.size + this.#placement.waiting;
  }

  /** Runs that wait for a worker. */
  get waitingRuns(): number {
    return this.#placement.waiting;
  }

  /** Workers that are connected, by id. */
  get workers(): ReadonlyMap<number, WorkerSession> {
    return this.#placement.workers;
  }

  /** Must be called before records of a batch are handed in. */
  beginBatch(now: number): void {
    this.#now = now;
    this.#placement.now = now;
    this.#recorder.now = now;
  }

  /** Must be called after records of a batch were handed in: gives waiting runs to workers that became free. */
  endBatch(): void {
    this.#placement.pump();
  }

  /** A caller's REQUEST. */
  request(session: Session, flags: number, batch: Buffer, start: number, end: number): void {
    this.counters.requests += 1;
    const call = batch.readUInt32LE(start + Layout.request.call);
    const entry = session.routes.get(batch.readUInt32LE(start + Layout.request.route));
    if (session.calls.has(call)) return;
    const refusal = this.#refusal(entry, end - start - Layout.request.payload);
    if (refusal !== null) return this.#refuse(session, call, refusal.code, refusal.detail);
    const target = (entry as RouteEntry).target(this.#directory.generation, this.#resolver.resolve);
    if (target.denied !== null) return this.#refuse(session, call, target.denied.code, target.denied.message);
    if (target.history !== null && this.#recorder.full)
      return this.#refuse(session, call, 'TFS_BUSY', 'the database does not keep up with the history of this service');
    const invocation = new Invocation({
      session,
      entry: entry as RouteEntry,
      service: target.service,
      request: batch,
      bodyStart: start,
      bodyEnd: end,
      timeoutMs: timeoutOf(target.service.config, batch.readUInt32LE(start + Layout.request.timeoutMs)),
      detached: (flags & RecordFlag.detached) !== 0,
      resumed: (flags & RecordFlag.resume) !== 0,
      once: (flags & RecordFlag.once) !== 0,
    });
    invocation.deadline = this.#now + limitOf(invocation);
    if (target.history !== null) invocation.record = this.#recorder.accepted(invocation, target.history);
    session.calls.set(call, invocation);
    this.#countHit((entry as RouteEntry).trigger, invocation);
    startInvocation(invocation, this.#placement, this.#directory, (given) => this.#endWithoutRun(invocation, given));
  }

  /** A caller's CANCEL: waiting runs end at once, others when their worker has killed them. */
  cancel(session: Session, call: number): void {
    const invocation = session.calls.get(call);
    if (invocation !== undefined) this.#cancelInvocation(invocation, 'cancelled by the caller');
  }

  /** A caller's CREDIT for one run. */
  credit(session: Session, call: number, worker: number, bytes: number): void {
    const invocation = session.calls.get(call);
    const run = invocation?.openRuns.find((candidate) => candidate.worker?.id === worker);
    if (run !== undefined) this.#gate.grant(run, bytes);
  }

  /** A worker's STARTED. */
  started(session: Session, number: number): void {
    const run = this.#runOf(session, number);
    if (run === undefined) return;
    run.started = true;
    if (run.invocation.record !== null) this.#recorder.started(run);
  }

  /** A worker's OUTPUT: forwarded by copy, with the numbers replaced. */
  output(session: Session, flags: number, batch: Buffer, start: number, end: number): void {
    const run = this.#runOf(session, batch.readUInt32LE(start + Layout.output.call));
    if (run === undefined) return;
    const { invocation } = run;
    const bytes = end - start - Layout.output.data;
    run.started = true;
    run.credit -= bytes;
    this.counters.outputBytes += bytes;
    if (invocation.record !== null) {
      const sequence = batch.readUInt32LE(start + Layout.output.sequence);
      this.#recorder.output(run, (flags & RecordFlag.stderr) !== 0, sequence, batch, start + Layout.output.data, end);
    }
    if (invocation.orphaned) return this.#gate.grant(run, bytes);
    const { outbox } = invocation.session;
    const at = outbox.copy(RecordType.output, flags, batch, start, end);
    outbox.buffer.writeUInt32LE(invocation.call, at + Layout.output.call);
    outbox.buffer.writeUInt32LE((run.worker as WorkerSession).id, at + Layout.output.worker);
  }

  /** A worker's RESULT. */
  result(session: Session, batch: Buffer, start: number, end: number): void {
    const run = this.#runOf(session, batch.readUInt32LE(start + Layout.result.call));
    if (run === undefined) return;
    const verdict = batch[start + Layout.result.verdict] as number;
    if (verdict === Verdict.busy && !run.started) {
      if (run.invocation.cancelled) return this.#finish(run, CANCELLED);
      // A worker that shuts down gives back what it has not started; one that has no room takes it later.
      const draining = batch.readUInt16LE(start + Layout.result.error) === ERRORS.TFS_DRAINING.number;
      if (!draining) return this.#placement.handBack(run);
      if (this.#placement.move(run, 'the worker is draining')) return;
    }
    if (run.invocation.record !== null) this.#recorder.result(run, batch, start, end);
    const failed = verdict !== Verdict.ok;
    this.#close(run, failed, verdict, (last) => {
      const { outbox } = run.invocation.session;
      const at = outbox.copy(RecordType.result, last ? RecordFlag.last : 0, batch, start, end);
      outbox.buffer.writeUInt32LE(run.invocation.call, at + Layout.result.call);
      outbox.buffer.writeUInt32LE((run.worker as WorkerSession).id, at + Layout.result.worker);
      outbox.buffer[at + Layout.result.attempt] = run.attempt;
    });
  }

  /** A worker announced what it takes (now). */
  workerAnnounced(worker: WorkerSession): void {
    this.#placement.workerReady(worker);
  }

  /** A worker's session ended: unstarted runs move, started ones end `worker-lost` unless the service restarts them. */
  workerLost(worker: WorkerSession): void {
    this.#placement.workerGone(worker);
    for (const run of this.#runs.values()) {
      if (run.worker !== worker) continue;
      if (run.invocation.cancelled) {
        this.#finish(run, CANCELLED);
        continue;
      }
      const { once, service } = run.invocation;
      const mayMove = !run.started || service.config.failover === 'always';
      if (mayMove && !once && this.#placement.move(run, 'the worker was lost')) continue;
      const lost = `worker ${worker.identity} was lost`;
      this.#finish(
        run,
        mayMove && (once || run.started) ? askAgain(`${lost} with the request, which it may have begun`) : lostVerdict(run, lost),
      );
    }
    worker.release();
    this.#placement.pump();
  }

  /** A caller's session ended: its invocations are cancelled, detached ones go on without it. */
  callerLost(session: Session): void {
    for (const invocation of [...session.calls.values()]) {
      invocation.orphaned = true;
      if (!invocation.detached) this.#cancelInvocation(invocation, 'the caller is gone');
      else for (const run of invocation.openRuns) this.#gate.grant(run, LIMITS.maxCreditBytes);
    }
    for (const entry of session.routes.values()) this.routeClosed(entry);
    session.routes.clear();
  }

  /** A route is not used any more: workers may forget its plan. Plans of running invocations stay with the worker's runs. */
  routeClosed(entry: RouteEntry): void {
    entry.closed = true;
    for (const worker of entry.workers) {
      const plan = worker.forgetPlan(entry);
      if (plan !== undefined) worker.session.outbox.json(RecordType.unplan, { plan });
    }
    entry.workers.clear();
  }

  /** Ends what is past its deadline. Called four times a second. */
  sweep(now: number): void {
    this.beginBatch(now);
    for (const run of this.#runs.values()) {
      if (now < run.deadline + LIMITS.deadlineGraceMs) continue;
      writeCancel(run, RecordFlag.timeout);
      const cancelled = run.invocation.cancelled;
      this.#finish(run, {
        verdict: cancelled ? Verdict.cancelled : Verdict.timeout,
        error: cancelled ? 'TFS_CANCELLED' : 'TFS_TIMEOUT',
        detail: `no answer from ${run.worker?.identity} within ${run.invocation.timeoutMs} ms`,
      });
    }
    this.#placement.sweep();
    this.#placement.pump();
    this.#gate.release();
  }

  /** The history has caught up: readers' credit that waited for it goes on its way. */
  readonly creditReleased = (): void => this.#gate.release();

  #countHit(trigger: number, invocation: Invocation): void {
    if (trigger === 0 || invocation.resumed) return;
    if (this.#directory.team(invocation.entry.principal.teamId)?.triggers.has(trigger) !== true) return;
    this.counters.hits += 1;
    this.hits.set(trigger, (this.hits.get(trigger) ?? 0) + 1);
  }

  #refusal(entry: RouteEntry | undefined, payloadBytes: number): { code: ErrorCode; detail: string } | null {
    if (entry === undefined) return { code: 'TFS_PROTOCOL', detail: 'the request names a route that was not declared' };
    if (this.draining) return { code: 'TFS_DRAINING', detail: 'this broker is shutting down' };
    if (payloadBytes > LIMITS.payloadBytes)
      return { code: 'TFS_TOO_LARGE', detail: `payload of ${payloadBytes} bytes, at most ${LIMITS.payloadBytes}` };
    if (this.overloaded) return { code: 'TFS_BUSY', detail: 'too much output waits for slow readers' };
    return null;
  }

  #refuse(session: Session, call: number, code: ErrorCode, detail: string): void {
    const verdict = code === 'TFS_DRAINING' || code === 'TFS_BUSY' ? Verdict.busy : Verdict.denied;
    this.counters.verdicts[verdict] = (this.counters.verdicts[verdict] as number) + 1;
    writeVerdict(session, call, 0, 0, { verdict, error: code, detail }, true);
  }

  #endWithoutRun(invocation: Invocation, given: BrokerVerdict): void {
    invocation.done = true;
    if (invocation.record !== null) this.#recorder.done(invocation, given);
    invocation.session.calls.delete(invocation.call);
    this.counters.verdicts[given.verdict] = (this.counters.verdicts[given.verdict] as number) + 1;
    if (!invocation.orphaned) writeVerdict(invocation.session, invocation.call, 0, 0, given, true);
  }

  #runOf(session: Session, number: number): Run | undefined {
    const run = this.#runs.get(number);
    return run?.worker?.session === session ? run : undefined;
  }

  #finish(run: Run, given: BrokerVerdict): void {
    if (run.invocation.record !== null && !run.ended) this.#recorder.ended(run, given);
    this.#close(run, given.verdict !== Verdict.ok, given.verdict, (last) => {
      const worker = run.worker?.id ?? run.only;
      writeVerdict(run.invocation.session, run.invocation.call, worker, run.attempt, given, last);
    });
  }

  /** The one place where runs end: frees the slot, writes the verdict, and goes on with a serial service or ends the invocation. */
  #close(run: Run, failed: boolean, verdict: number, write: (last: boolean) => void): void {
    const { invocation } = run;
    if (run.ended) return;
    run.ended = true;
    this.counters.verdicts[verdict] = (this.counters.verdicts[verdict] ?? 0) + 1;
    this.#placement.release(run);
    invocation.openRuns.splice(invocation.openRuns.indexOf(run), 1);
    if (failed) invocation.errors += 1;
    const next = takeNext(invocation);
    const last = invocation.openRuns.length === 0 && next.start.length === 0;
    if (!invocation.orphaned) write(last && next.skip.length === 0);
    next.skip.forEach((worker, index) => {
      const detail = invocation.cancelled ? 'cancelled before its turn' : `not run: stopped after ${invocation.errors} error(s)`;
      const given: BrokerVerdict = { verdict: Verdict.cancelled, error: 'TFS_CANCELLED', detail };
      if (invocation.record !== null) this.#recorder.skipped(invocation, worker, given);
      if (!invocation.orphaned) writeVerdict(invocation.session, invocation.call, worker, 0, given, last && index === next.skip.length - 1);
    });
    if (last) {
      invocation.done = true;
      if (invocation.record !== null) this.#recorder.done(invocation, null);
      invocation.session.calls.delete(invocation.call);
      if (invocation.entry.closed) this.routeClosed(invocation.entry);
    }
    if (next.start.length > 0) this.#placement.start(invocation, next.start);
  }

  #cancelInvocation(invocation: Invocation, reason: string): void {
    if (invocation.cancelled || invocation.done) return;
    invocation.cancelled = true;
    for (const run of [...invocation.openRuns]) {
      if (run.number === 0) {
        this.#finish(run, { verdict: Verdict.cancelled, error: 'TFS_CANCELLED', detail: reason });
        continue;
      }
      writeCancel(run, 0);
      run.deadline = Math.min(run.deadline, this.#now + LIMITS.killGraceMs);
    }
  }

  #configChanged(teamId: number): void {
    for (const state of this.#resolver.refresh(teamId)) {
      const given: BrokerVerdict = {
        verdict: Verdict.denied,
        error: 'TFS_UNKNOWN_SERVICE',
        detail: `service ${state.config.name} was deleted`,
      };
      for (const run of state.drain()) this.#finish(run, given);
    }
    this.#placement.configChanged();
  }
}

function writeCancel(run: Run, flags: number): void {
  if (run.worker === null || run.number === 0) return;
  const { outbox } = run.worker.session;
  const at = outbox.reserve(RecordType.cancel, flags, Layout.cancel.end);
  outbox.buffer.writeUInt32LE(run.number, at + Layout.cancel.call);
}

function lostVerdict(run: Run, lost: string): BrokerVerdict {
  if (run.started) return { verdict: Verdict.workerLost, error: 'TFS_WORKER_LOST', detail: `${lost} during the run` };
  return { verdict: Verdict.noWorker, error: 'TFS_NO_WORKER', detail: `${lost} before the run started, and no other can take it` };
}
