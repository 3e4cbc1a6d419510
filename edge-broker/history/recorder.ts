import { errorCode } from '../../protocol/errors.ts';
import { historyDay } from '../../protocol/history-block.ts';
import { joinOutcome, type RunVerdict } from '../../protocol/outcome.ts';
import { Layout } from '../../protocol/records.ts';
import { Verdict, verdictName } from '../../protocol/verdicts.ts';
import type { Directory } from '../directory/directory.ts';
import type { BrokerVerdict } from '../dispatch/answers.ts';
import type { Invocation, Run } from '../dispatch/invocation.ts';
import { InvocationRecord, RunRecord } from './history-records.ts';
import { type HistoryRule, storable } from './history-rule.ts';
import type { HistoryWriter } from './history-writer.ts';

const MAX_DETAIL = 4096;

/**
 * What the dispatcher tells of invocations that are kept. Everything happens within its turn of the event loop: values are
 * copied into records, and the writer is told what has changed. `now` is the dispatcher's clock.
 */
export class Recorder {
  now = Date.now();
  readonly #directory: Directory;
  readonly #writer: HistoryWriter;

  constructor(directory: Directory, writer: HistoryWriter) {
    this.#directory = directory;
    this.#writer = writer;
  }

  /** Readers' credit has to wait. */
  get congested(): boolean {
    return this.#writer.budget.congested;
  }

  /** No further invocation may be accepted. */
  get full(): boolean {
    return this.#writer.budget.full;
  }

  /** A request was accepted; null when there is no room for it any more. */
  accepted(invocation: Invocation, rule: HistoryRule): InvocationRecord | null {
    const { budget } = this.#writer;
    if (budget.dropsRows) {
      budget.counters.droppedInvocations += 1;
      return null;
    }
    const payload = invocation.request.subarray(invocation.bodyStart + Layout.request.payload, invocation.bodyEnd);
    const kept = rule.level === 'output' && payload.length > 0 && !budget.dropsOutput;
    const { algorithm, workerIds } = invocation.service.config;
    const record = new InvocationRecord({
      rule,
      id: Buffer.from(invocation.id),
      day: historyDay(invocation.id, this.now),
      payload: kept ? Buffer.from(payload) : null,
      payloadBytes: payload.length,
      timeoutMs: invocation.timeoutMs,
      deadline: invocation.deadline,
      expected: algorithm === 'serial' || algorithm === 'mirror' ? workerIds.length : 1,
      acceptedAt: this.now,
      resumed: invocation.resumed,
    });
    this.#writer.invocationChanged(record);
    return record;
  }

  /** A worker began with a run. */
  started(run: Run): void {
    if (run.record === null) this.#begin(run);
  }

  /** Output of a run: `batch` from `start` to `end`. */
  output(run: Run, stderr: boolean, sequence: number, batch: Buffer, start: number, end: number): void {
    const record = run.record ?? this.#begin(run);
    const bytes = end - start;
    record.outputBytes += bytes;
    record.invocation.outputBytes += bytes;
    if (record.invocation.rule.level !== 'output') return;
    const { budget } = this.#writer;
    if (budget.dropsOutput) {
      budget.counters.droppedBytes += bytes;
      record.output.markGap();
      return;
    }
    const before = record.output.memory;
    record.output.append(stderr, sequence, this.now, batch, start, end);
    this.#writer.outputAdded(record, record.output.memory - before);
  }

  /** A worker's RESULT record ended the run. */
  result(run: Run, batch: Buffer, start: number, end: number): void {
    const { result } = Layout;
    const verdict = batch[start + result.verdict] as number;
    const error = errorCode(batch.readUInt16LE(start + result.error));
    const invocation = run.invocation.record as InvocationRecord;
    if (verdict === Verdict.cancelled && error === 'TFS_CONFLICT') {
      invocation.handedOver = true;
      return;
    }
    this.#end(run, {
      worker: run.worker?.identity ?? '',
      verdict: verdictName(verdict),
      exitCode: batch.readInt16LE(start + result.exitCode),
      signal: batch[start + result.signal] as number,
      attempt: run.attempt,
      durationUs: batch.readUInt32LE(start + result.durationUs),
      error,
      detail: start + result.detail === end ? '' : detailOf(batch.toString('utf8', start + result.detail, end)),
    });
  }

  /** The broker itself ended the run. */
  ended(run: Run, given: BrokerVerdict): void {
    this.#end(run, verdictOf(run.worker?.identity ?? this.#identity(run.invocation, run.only), run.attempt, given));
  }

  /** A run that has begun goes on elsewhere: this attempt is over. */
  moved(run: Run, given: BrokerVerdict): void {
    if (run.record === null) return;
    this.#close(run.record, verdictOf(run.record.identity, run.attempt, given));
    run.record = null;
  }

  /** A worker's turn never came. */
  skipped(invocation: Invocation, worker: number, given: BrokerVerdict): void {
    const record = invocation.record as InvocationRecord;
    const identity = this.#identity(invocation, worker);
    const run = new RunRecord(record, { workerId: worker, identity, attempt: 0, startedAt: this.now, repeated: record.resumed });
    const verdict = verdictOf(identity, 0, given);
    record.outcome = joinOutcome(record.outcome, verdict);
    this.#close(run, verdict);
  }

  /** The invocation is done. `given`: it ended without a run. */
  done(invocation: Invocation, given: BrokerVerdict | null): void {
    const record = invocation.record as InvocationRecord;
    if (record.handedOver) return;
    if (given !== null) record.outcome = joinOutcome(record.outcome, verdictOf('', 0, given));
    record.endedAt = this.now;
    this.#writer.invocationChanged(record);
  }

  #begin(run: Run): RunRecord {
    const invocation = run.invocation.record as InvocationRecord;
    const record = new RunRecord(invocation, {
      workerId: run.worker?.id ?? run.only,
      identity: run.worker?.identity ?? this.#identity(run.invocation, run.only),
      attempt: run.attempt,
      startedAt: run.handedAt === 0 ? this.now : run.handedAt,
      repeated: invocation.resumed || run.previousWorker !== 0,
    });
    run.record = record;
    this.#writer.runChanged(record);
    return record;
  }

  #end(run: Run, verdict: RunVerdict): void {
    const invocation = run.invocation.record as InvocationRecord;
    invocation.outcome = joinOutcome(invocation.outcome, verdict);
    // Nobody was asked: the invocation's own row tells why.
    if (run.worker === null && run.only === 0) return;
    this.#close(run.record ?? this.#begin(run), verdict);
  }

  #close(record: RunRecord, verdict: RunVerdict): void {
    record.verdict = verdict;
    record.endedAt = this.now;
    record.output.finish(this.now);
    this.#writer.runChanged(record);
  }

  #identity(invocation: Invocation, worker: number): string {
    if (worker === 0) return '';
    return this.#directory.team(invocation.service.config.teamId)?.workers.get(worker)?.identity ?? String(worker);
  }
}

function verdictOf(worker: string, attempt: number, { verdict, error, detail }: BrokerVerdict): RunVerdict {
  return { worker, verdict: verdictName(verdict), exitCode: 0, signal: 0, attempt, durationUs: 0, error, detail: detailOf(detail) };
}

function detailOf(text: string): string {
  return storable(text.length > MAX_DETAIL ? text.slice(0, MAX_DETAIL) : text);
}
