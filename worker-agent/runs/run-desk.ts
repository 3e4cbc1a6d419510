import { type ErrorCode, TriggerFsError } from '../../protocol/errors.ts';
import { Layout } from '../../protocol/records.ts';
import { Verdict, type VerdictNumber } from '../../protocol/verdicts.ts';
import type { SlotTable } from '../../runtime/wire/slot-table.ts';
import type { BoundPlan, HostFinder } from '../catalogue/bound-plan.ts';
import type { Catalogue } from '../catalogue/catalogue.ts';
import { DeadlineTimer } from './deadline-timer.ts';
import { broken, interrupted, type Outcome } from './outcome.ts';
import { RecentInvocations, UNKNOWN } from './recent-invocations.ts';
import { ResultJournal } from './result-journal.ts';
import { type LastChunk, Run, type RunKeeper, type RunLink, reportResult } from './run.ts';

/** Invocations that are remembered; a power of two, above the largest concurrency. */
const RECENT_INVOCATIONS = 262_144;
const JOURNAL_BYTES = 32 * 1024 * 1024;
/** How long the output of a run without a broker is held back for another broker to come. */
const DETACHED_MS = 60_000;
const SWEEP_MS = 1_000;
const Task = Layout.task;

/** What the desk decides with. */
export interface RunDeskOptions {
  /** Runs at once. */
  readonly concurrency: number;
  readonly catalogue: Catalogue;
  readonly hosts: HostFinder;
  readonly runs: SlotTable<Run>;
}

/** A run that is repeated from the journal tells nobody about its end. */
const REPEATED: RunKeeper = { settled: () => undefined, released: () => undefined };

/**
 * Takes the tasks of all brokers: refuses what this worker does not run, recognises what it has run already,
 * starts the rest, and ends runs whose time is over. No invocation is executed twice with the same attempt.
 */
export class RunDesk implements RunKeeper {
  readonly #options: RunDeskOptions;
  readonly #runs: SlotTable<Run>;
  readonly #recent = new RecentInvocations<Run>(RECENT_INVOCATIONS);
  readonly #journal = new ResultJournal(JOURNAL_BYTES);
  readonly #deadlines = new DeadlineTimer(() => this.#expire());
  readonly #empty: (() => void)[] = [];
  #sweep: NodeJS.Timeout | null = null;
  #draining = false;

  constructor(options: RunDeskOptions) {
    this.#options = options;
    this.#runs = options.runs;
  }

  /** Runs on this worker now. */
  get size(): number {
    return this.#runs.size;
  }

  /** Nothing new begins any more. */
  get draining(): boolean {
    return this.#draining;
  }

  /**
   * A TASK arrived; its body stands in `batch` from `start` to `end`. Every task is answered with exactly one RESULT.
   * Returns the run when later records (CREDIT, CANCEL) may concern it.
   */
  take(link: RunLink, plan: BoundPlan, batch: Buffer, start: number, end: number, now: number): Run | null {
    const attempt = batch.readUInt32LE(start + Task.attempt);
    const number = batch.readUInt32LE(start + Task.run);
    const known = this.#recent.find(plan.caller, batch, start + Task.invocation);
    if (known !== UNKNOWN && attempt <= this.#recent.attempt(known)) {
      return this.#repeat(link, plan, known, number, batch.readUInt32LE(start + Task.credit));
    }
    if (this.#draining) return this.refuse(link, number, attempt, Verdict.busy, 'TFS_DRAINING', 'this worker is shutting down');
    const host = plan.bind(this.#options.catalogue, this.#options.hosts);
    if (host === null) {
      const { verdict, code, detail } = plan.refusal ?? internal();
      return this.refuse(link, number, attempt, verdict, code, detail);
    }
    if (this.#runs.size >= this.#options.concurrency) {
      return this.refuse(link, number, attempt, Verdict.busy, 'TFS_BUSY', `this worker takes ${this.#options.concurrency} runs at once`);
    }
    const deadline = now + batch.readUInt32LE(start + Task.timeoutMs);
    const run = new Run(this, plan, { link, number, credit: batch.readUInt32LE(start + Task.credit), attempt, deadline });
    run.slot = this.#runs.add(run);
    run.entry = this.#recent.add(plan.caller, batch, start + Task.invocation, attempt, run);
    this.#deadlines.add(deadline, now);
    host.start(run, { batch, invocation: start + Task.invocation, payload: start + Task.payload, end }, now);
    return run.settled ? null : run;
  }

  /** Answers a task that is not executed. Always returns null. */
  refuse(link: RunLink, number: number, attempt: number, verdict: VerdictNumber, code: ErrorCode, detail: string): null {
    reportResult(link, { number, attempt, durationUs: 0 }, broken(verdict, code, detail));
    return null;
  }

  /** The caller gave up, or the broker saw the time end. */
  cancel(run: Run, verdict: VerdictNumber): void {
    const now = performance.now();
    if (run.settled) return;
    if (run.ended || (run.waiting && run.control === null)) {
      run.finishNow(interrupted(verdict, 0, 0), now);
      run.release();
    } else {
      run.interrupt(verdict);
    }
  }

  /** The broker of a run is gone. What has not started is forgotten, because that broker, if it lives, moves it elsewhere. */
  detach(run: Run, now: number): void {
    run.detach(now);
    if (run.waiting && run.control === null) {
      this.#giveBack(run, now);
      return;
    }
    this.#sweep ??= setInterval(() => this.#discardForgotten(), SWEEP_MS);
  }

  /** Begins no new runs and gives back those that have not started; resolves when the last run has ended. */
  async drain(): Promise<void> {
    this.#draining = true;
    const now = performance.now();
    for (const run of this.#runs.values()) {
      if (run.waiting && run.control === null) this.#giveBack(run, now);
    }
    if (this.#runs.size > 0) await new Promise<void>((resolve) => this.#empty.push(resolve));
  }

  /** The worker ends: runs whose plugin has ended are settled, output of the others is dropped, and all have failed. */
  giveUp(): void {
    const now = performance.now();
    const outcome = broken(Verdict.failed, 'TFS_DRAINING', 'this worker shut down before the run had ended');
    for (const run of this.#runs.values()) {
      if (run.ended) run.finishNow(outcome, now);
      else run.discard(outcome);
    }
  }

  /** Stops the timers. */
  close(): void {
    this.#deadlines.stop();
    if (this.#sweep !== null) clearInterval(this.#sweep);
  }

  settled(run: Run, outcome: Outcome, last: LastChunk | null): void {
    if (outcome.verdict === Verdict.busy) {
      // It did not run, so it may come again with the same attempt.
      this.#recent.remove(run.entry);
      return;
    }
    const parts = { outcome, durationUs: run.durationUs, dropped: run.dropped, queues: run.queues };
    const place =
      last === null ? this.#journal.store(parts) : this.#journal.storeChunk(parts, last.flags, last.source, last.start, last.end);
    this.#recent.settle(run.entry, place);
  }

  released(run: Run): void {
    this.#runs.remove(run.slot);
    if (this.#runs.size > 0) return;
    for (const resolve of this.#empty.splice(0)) resolve();
  }

  /** The same invocation again, from a broker that took over: the run goes on there, or its result is repeated. */
  #repeat(link: RunLink, plan: BoundPlan, entry: number, number: number, credit: number): Run | null {
    const live = this.#recent.value(entry);
    if (live !== undefined) {
      live.attach(link, number, credit);
      return live.settled ? null : live;
    }
    const attempt = this.#recent.attempt(entry);
    const kept = this.#journal.load(this.#recent.place(entry));
    if (kept === null) {
      return this.refuse(
        link,
        number,
        attempt,
        Verdict.workerLost,
        'TFS_WORKER_LOST',
        'this worker has executed it, but keeps its result no more',
      );
    }
    const run = new Run(REPEATED, plan, { link: null, number, credit: 0, attempt, deadline: 0 });
    run.restore(explain(kept.outcome, kept.dropped), kept.durationUs, kept.replay);
    run.attach(link, number, credit);
    return run.settled ? null : run;
  }

  /** Ends the runs whose time is over and returns the next deadline. */
  #expire(): number {
    const now = performance.now();
    let next = Number.POSITIVE_INFINITY;
    for (const run of this.#runs.values()) {
      if (run.settled || run.interruption !== null) continue;
      if (run.deadline <= now) this.cancel(run, Verdict.timeout);
      else if (run.deadline < next) next = run.deadline;
    }
    return next;
  }

  #giveBack(run: Run, now: number): void {
    run.finish(broken(Verdict.busy, 'TFS_DRAINING', 'this worker is shutting down'), now);
    run.release();
  }

  #discardForgotten(): void {
    const before = performance.now() - DETACHED_MS;
    let detached = 0;
    for (const run of this.#runs.values()) {
      if (run.link !== null || run.settled) continue;
      if (run.detachedAt <= before) run.discard(null);
      else detached += 1;
    }
    if (detached > 0 || this.#sweep === null) return;
    clearInterval(this.#sweep);
    this.#sweep = null;
  }
}

function explain(outcome: Outcome, dropped: number): Outcome {
  if (dropped === 0) return outcome;
  const note = `the first ${dropped} bytes of its output are not repeated`;
  return { ...outcome, detail: outcome.detail === '' ? note : `${outcome.detail}; ${note}` };
}

function internal(): { verdict: VerdictNumber; code: ErrorCode; detail: string } {
  const { code, message } = new TriggerFsError('TFS_INTERNAL', 'the plan has no host');
  return { verdict: Verdict.failed, code, detail: message };
}
