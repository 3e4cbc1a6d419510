import { LIMITS } from '../../protocol/limits.ts';
import { Layout, RecordType } from '../../protocol/records.ts';
import { Verdict, type VerdictNumber } from '../../protocol/verdicts.ts';
import type { Outbox } from '../../runtime/wire/outbox.ts';
import type { BoundPlan } from '../catalogue/bound-plan.ts';
import { ChunkQueue } from './chunk-queue.ts';
import { broken, type Outcome } from './outcome.ts';

/** Newest output of a run that is kept for a second broker, and output that a run without a broker may still make. */
export const KEPT_BYTES: number = 64 * 1024;

/** A session that runs are reported to. */
export interface RunLink {
  readonly outbox: Outbox;
  /** The run with this number has sent its RESULT. */
  closed(number: number): void;
}

/** What executes a run: a process of its own, or a resident plugin. */
export interface RunControl {
  /** End the run soon; the executor answers with `finish`, and with `release` once nothing of it is left. */
  cancel(run: Run): void;
  /** The run takes output again. */
  resume(run: Run): void;
  /** The reader takes this many bytes more, whether or not the executor had to wait. */
  granted(run: Run, bytes: number): void;
}

/** Whom a run tells about its end. */
export interface RunKeeper {
  /** RESULT is on its way (or kept for a second broker). */
  settled(run: Run, outcome: Outcome, last: LastChunk | null): void;
  /** RESULT is out and nothing of the run is left: its place is free. */
  released(run: Run): void;
}

/** Output that came together with the end of a run. */
export interface LastChunk {
  readonly flags: number;
  readonly source: Buffer;
  readonly start: number;
  readonly end: number;
}

/**
 * One run on this worker.
 *
 *   waiting ──started()──▶ running ──finish()──▶ ended ──(output sent)──▶ settled
 *
 * waiting: accepted; its executor has not begun, so the broker may still move it elsewhere.
 * running: STARTED was sent.
 * ended:   the outcome is known, but output waits for credit.
 * settled: RESULT was sent; later output and outcomes are ignored.
 * The link is independent of the state: it is null while the run's broker is gone, and another broker may attach.
 * `release()` is independent as well: a killed process keeps its place until its group is gone.
 * Only started, finish and #settle change the state.
 */
export class Run {
  readonly plan: BoundPlan;
  readonly attempt: number;
  /** `performance.now()` at which the time of the run is over. */
  readonly deadline: number;
  /** Entry of the invocation in RecentInvocations. */
  entry = -1;
  /** Number in the worker's table of runs; resident plugins know the run by it. */
  slot = 0;
  control: RunControl | null = null;
  /** When the last broker of the run was lost. */
  detachedAt = 0;
  readonly #keeper: RunKeeper;
  #state: 'waiting' | 'running' | 'ended' | 'settled' = 'waiting';
  #link: RunLink | null;
  #number: number;
  #credit: number;
  #sequence = 0;
  #startedAt = 0;
  #durationUs = 0;
  #dropped = 0;
  #discarding = false;
  #released = false;
  #interruption: VerdictNumber | null = null;
  #kept: ChunkQueue | null = null;
  #pending: ChunkQueue | null = null;
  #outcome: Outcome | null = null;
  #forced: Outcome | null = null;

  constructor(
    keeper: RunKeeper,
    plan: BoundPlan,
    task: { link: RunLink | null; number: number; credit: number; attempt: number; deadline: number },
  ) {
    this.#keeper = keeper;
    this.plan = plan;
    this.attempt = task.attempt;
    this.deadline = task.deadline;
    this.#link = task.link;
    this.#number = task.number;
    this.#credit = task.credit;
  }

  get waiting(): boolean {
    return this.#state === 'waiting';
  }

  get settled(): boolean {
    return this.#state === 'settled';
  }

  /** The plugin has ended, but its output waits for a reader. */
  get ended(): boolean {
    return this.#state === 'ended';
  }

  /** Why the worker ends the run, once it does: timeout or cancelled. */
  get interruption(): VerdictNumber | null {
    return this.#interruption;
  }

  /** The session that the run is reported to, if there is one. */
  get link(): RunLink | null {
    return this.#link;
  }

  get durationUs(): number {
    return this.#durationUs;
  }

  /** Bytes of early output that cannot be repeated to a second broker. */
  get dropped(): number {
    return this.#dropped;
  }

  /** Output kept for a second broker: what was sent lately, then what was not sent. */
  get queues(): readonly (ChunkQueue | null)[] {
    return [this.#kept, this.#pending];
  }

  /** Output bytes that may be sent now: what a resident plugin is told with the run. */
  get credit(): number {
    return this.#credit;
  }

  /** The executor has begun. */
  started(now: number): void {
    if (this.#state !== 'waiting') return;
    this.#state = 'running';
    this.#startedAt = now;
    if (this.#link !== null) this.#reportStarted(this.#link);
  }

  /**
   * Output of the plugin; the bytes are copied. Returns false when the executor should stop reading
   * until `resume`, because nobody takes more at the moment.
   */
  output(flags: number, source: Buffer, start: number, end: number): boolean {
    if (this.#state === 'settled') return true;
    if (this.#discarding) return this.#drop(end - start);
    if (this.#link !== null && this.#pending === null && end - start <= this.#credit) {
      this.#send(flags, source, start, end);
      return true;
    }
    if (this.#interruption !== null) return this.#drop(end - start);
    this.#pending ??= new ChunkQueue();
    this.#pending.append(flags, source, start, end);
    if (this.#link !== null) this.#pump();
    return this.#link === null ? this.#pendingBytes() < KEPT_BYTES : this.#pending === null;
  }

  /** The run ended; RESULT follows the last byte of its output. */
  finish(outcome: Outcome, now: number): void {
    if (this.#state === 'settled' || this.#state === 'ended') return;
    this.#end(outcome, now);
    if (this.#link === null || this.#pending === null) this.#settle(null);
  }

  /** The run ended with its last output, the bytes of `last`. */
  finishWith(last: LastChunk, outcome: Outcome, now: number): void {
    const direct = this.#link !== null && this.#pending === null && this.#kept === null && last.end - last.start <= this.#credit;
    if (!direct || this.#state !== 'running') {
      this.output(last.flags, last.source, last.start, last.end);
      this.finish(outcome, now);
      return;
    }
    this.#end(outcome, now);
    if (last.end > last.start) this.#record(last.flags, last.source, last.start, last.end);
    this.#settle(last);
  }

  /** Ends the run now; output that waits for credit is dropped, because its reader is too late for it. */
  finishNow(outcome: Outcome, now: number): void {
    if (this.#state === 'settled') return;
    if (this.#state !== 'ended') this.#end(outcome, now);
    this.#outcome = outcome;
    this.#dropPending();
    this.#settle(null);
  }

  /** The worker ends the run: from now on output that nobody waits for is dropped, so that nothing holds up its end. */
  interrupt(verdict: VerdictNumber): void {
    if (this.#interruption !== null || this.#state === 'settled') return;
    this.#interruption = verdict;
    this.#dropPending();
    this.control?.resume(this);
    this.control?.cancel(this);
  }

  /** The executor has nothing left of the run. */
  release(): void {
    if (this.#released) return;
    this.#released = true;
    if (this.#state === 'settled') this.#keeper.released(this);
  }

  /** The reader takes this many bytes more. */
  grant(bytes: number): void {
    this.#credit += bytes;
    if (this.#pending !== null) this.#grantPending();
    this.control?.granted(this, bytes);
  }

  #grantPending(): void {
    this.#pump();
    if (this.#pending !== null) return;
    if (this.#state === 'ended') this.#settle(null);
    else this.control?.resume(this);
  }

  /** The broker is gone: output waits for another one. */
  detach(now: number): void {
    this.#link = null;
    this.#credit = 0;
    this.detachedAt = now;
    if (this.#state === 'ended') this.#settle(null);
    else if (this.#pendingBytes() < KEPT_BYTES) this.control?.resume(this);
  }

  /**
   * Nobody will read more: the run goes on, but its output is dropped from now on.
   * With an outcome, that is how it ends, whatever its plugin makes of it.
   */
  discard(outcome: Outcome | null): void {
    this.#forced = outcome;
    if (this.#discarding) return;
    this.#discarding = true;
    this.#dropPending();
    this.control?.resume(this);
    this.control?.granted(this, KEPT_BYTES);
  }

  /** Another broker (or the same one, anew) asks for this run: it gets what was kept, and everything that follows. */
  attach(link: RunLink, number: number, credit: number): void {
    if (this.#link !== null) this.#handOver(this.#link);
    this.#link = link;
    this.#number = number;
    this.#credit = credit;
    this.#sequence = 0;
    this.#discarding = false;
    if (this.#state !== 'waiting') this.#reportStarted(link);
    this.#requeueKept();
    if (this.#pending !== null) this.#grantPending();
    if (this.#state !== 'running' || this.#pending !== null) return;
    this.control?.resume(this);
    this.control?.granted(this, this.#credit);
  }

  /** Fills a run that only repeats a result that was kept. It sends what it has once a link is attached. */
  restore(
    outcome: Outcome,
    durationUs: number,
    fill: (append: (flags: number, source: Buffer, start: number, end: number) => void) => void,
  ): void {
    this.#pending = new ChunkQueue();
    const pending = this.#pending;
    fill((flags, source, start, end) => pending.append(flags, source, start, end));
    this.#outcome = outcome;
    this.#durationUs = durationUs;
    this.#state = 'ended';
  }

  #pendingBytes(): number {
    return this.#pending?.bytes ?? 0;
  }

  #end(outcome: Outcome, now: number): void {
    this.#state = 'ended';
    this.#outcome = this.#forced ?? outcome;
    this.#durationUs = this.#startedAt === 0 ? 0 : Math.min(Math.round((now - this.#startedAt) * 1000), 0xffffffff);
  }

  #settle(last: LastChunk | null): void {
    const outcome = this.#outcome as Outcome;
    this.#state = 'settled';
    if (this.#link !== null) {
      this.#reportResult(this.#link, outcome);
      this.#link.closed(this.#number);
    }
    this.#keeper.settled(this, outcome, last);
    this.#kept = null;
    this.#pending = null;
    this.#link = null;
    if (this.#released) this.#keeper.released(this);
  }

  /** Somebody else asked for the same invocation: whoever waited for it until now is told so. */
  #handOver(link: RunLink): void {
    const outcome = broken(Verdict.cancelled, 'TFS_CONFLICT', 'the same invocation was asked for again, and its answer goes there');
    reportResult(link, { number: this.#number, attempt: this.attempt, durationUs: 0 }, outcome);
    link.closed(this.#number);
  }

  #drop(bytes: number): true {
    this.#dropped += bytes;
    this.control?.granted(this, bytes);
    return true;
  }

  #dropPending(): void {
    this.#dropped += this.#pendingBytes();
    this.#pending = null;
  }

  /** Sends what waits, as far as the credit goes. */
  #pump(): void {
    const pending = this.#pending as ChunkQueue;
    pending.drain(this.#credit, LIMITS.outputBytes, (flags, source, start, end) => this.#send(flags, source, start, end));
    if (pending.bytes === 0) this.#pending = null;
  }

  /** Puts the kept output before the waiting output, for a reader that has seen nothing yet. */
  #requeueKept(): void {
    const kept = this.#kept;
    if (kept === null) return;
    this.#kept = null;
    const waiting = this.#pending;
    this.#pending = kept;
    waiting?.drain(waiting.bytes, LIMITS.outputBytes, (flags, source, start, end) => kept.append(flags, source, start, end));
  }

  #send(flags: number, source: Buffer, start: number, end: number): void {
    this.#record(flags, source, start, end);
    this.#kept ??= new ChunkQueue();
    this.#kept.append(flags, source, start, end);
    if (this.#kept.bytes > KEPT_BYTES) this.#dropped += this.#kept.trim(KEPT_BYTES);
  }

  #record(flags: number, source: Buffer, start: number, end: number): void {
    const { outbox } = this.#link as RunLink;
    const at = outbox.reserve(RecordType.output, flags, Layout.output.data + end - start);
    const { buffer } = outbox;
    buffer.writeUInt32LE(this.#number, at + Layout.output.call);
    buffer.writeUInt32LE(0, at + Layout.output.worker);
    buffer.writeUInt32LE(this.#sequence, at + Layout.output.sequence);
    source.copy(buffer, at + Layout.output.data, start, end);
    this.#sequence += 1;
    this.#credit -= end - start;
  }

  #reportStarted(link: RunLink): void {
    const at = link.outbox.reserveLingering(RecordType.started, 0, Layout.started.end);
    link.outbox.buffer.writeUInt32LE(this.#number, at + Layout.started.run);
  }

  #reportResult(link: RunLink, outcome: Outcome): void {
    reportResult(link, { number: this.#number, attempt: this.attempt, durationUs: this.#durationUs }, outcome);
  }
}

/** Writes the RESULT record of a run. */
export function reportResult(link: RunLink, run: { number: number; attempt: number; durationUs: number }, outcome: Outcome): void {
  const at = writeResult(link.outbox, outcome.detail);
  const { buffer } = link.outbox;
  buffer.writeUInt32LE(run.number, at + Layout.result.call);
  buffer.writeUInt32LE(0, at + Layout.result.worker);
  buffer.writeUInt32LE(run.durationUs, at + Layout.result.durationUs);
  buffer.writeInt16LE(outcome.exitCode, at + Layout.result.exitCode);
  buffer[at + Layout.result.verdict] = outcome.verdict;
  buffer[at + Layout.result.attempt] = run.attempt;
  buffer[at + Layout.result.signal] = outcome.signal;
  buffer[at + Layout.result.signal + 1] = 0;
  buffer.writeUInt16LE(outcome.error, at + Layout.result.error);
}

function writeResult(outbox: Outbox, detail: string): number {
  if (detail === '') return outbox.reserve(RecordType.result, 0, Layout.result.detail);
  const text = Buffer.from(detail);
  const at = outbox.reserve(RecordType.result, 0, Layout.result.detail + text.length);
  text.copy(outbox.buffer, at + Layout.result.detail);
  return at;
}
