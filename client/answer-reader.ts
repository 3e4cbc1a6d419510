import { algorithmName } from '../protocol/algorithms.ts';
import { MalformedBatchError } from '../protocol/batch.ts';
import { errorCode } from '../protocol/errors.ts';
import type { Manifest, RunVerdict } from '../protocol/outcome.ts';
import { Layout, RecordFlag, RecordType, recordName } from '../protocol/records.ts';
import { verdictName } from '../protocol/verdicts.ts';
import { formatInvocationId } from '../runtime/wire/invocation-id.ts';
import type { PendingCall } from './call.ts';
import type { CallTable } from './call-table.ts';
import type { Session } from './session.ts';

/** Reads what brokers answer and brings it to the calls. Records for calls that are done are dropped. */
export class AnswerReader {
  readonly #calls: CallTable;

  constructor(calls: CallTable) {
    this.#calls = calls;
  }

  /** Reads one record. @throws MalformedBatchError when it is too short, which ends the session */
  read(session: Session, type: number, flags: number, batch: Buffer, start: number, end: number): void {
    if (end - start < minimumBytes(type)) throw new MalformedBatchError(`a ${recordName(type)} record of ${end - start} bytes`);
    const call = this.#calls.find(batch.readUInt32LE(start), session);
    if (call === undefined) return;
    try {
      if (type === RecordType.output) this.#output(call, session, flags, batch, start, end);
      else if (type === RecordType.result) this.#result(call, session, flags, batch, start, end);
      else if (type === RecordType.manifest) this.#manifest(call, session, batch, start, end);
    } catch (error) {
      // A fault in a caller's handler is neither swallowed nor the broker's: it must not end the session.
      process.nextTick(() => {
        throw error;
      });
    }
  }

  #manifest(call: PendingCall, session: Session, batch: Buffer, start: number, end: number): void {
    const attempt = batch[start + Layout.manifest.attempt] as number;
    const limitMs = batch.readUInt32LE(start + Layout.manifest.limitMs);
    const workers = start + Layout.manifest.workers;
    // Work that nobody waits for has its full time from when a worker gets it, however long it waited.
    if (!call.cancelled && (call.detached || limitMs > call.timeoutMs)) call.deadline = performance.now() + limitMs;
    const only = end - workers === 4 ? batch.readUInt32LE(workers) : 0;
    if (only !== 0) call.resumeWorker = only;
    if (attempt === call.attempt && only === call.manifestWorker) return;
    if (call.attempt >= 0 && attempt !== call.attempt) call.forgetRuns();
    call.attempt = attempt;
    call.manifestWorker = only;
    if (call.handlers.manifest !== undefined) call.handlers.manifest(manifestOf(call, session, batch, start, end), call);
  }

  #output(call: PendingCall, session: Session, flags: number, batch: Buffer, start: number, end: number): void {
    const worker = batch.readUInt32LE(start + Layout.output.worker);
    const sequence = batch.readUInt32LE(start + Layout.output.sequence);
    const data = start + Layout.output.data;
    const run = call.run(worker);
    const replayed = sequence < run.nextSequence;
    if (!replayed) {
      run.nextSequence = sequence + 1;
      call.handlers.output?.(call, batch.subarray(data, end), (flags & RecordFlag.stderr) !== 0, session.workerName(worker), sequence);
    }
    if (call.manualCredit && !replayed) return;
    run.ungranted += end - data;
    if (run.ungranted < call.credit / 2 || call.session !== session) return;
    session.credit(call.number, worker, run.ungranted);
    run.ungranted = 0;
  }

  #result(call: PendingCall, session: Session, flags: number, batch: Buffer, start: number, end: number): void {
    const worker = batch.readUInt32LE(start + Layout.result.worker);
    const last = (flags & RecordFlag.last) !== 0;
    const verdict = verdictOf(session.workerName(worker), batch, start, end);
    // With another verdict it was begun, and ended with the worker that shut down.
    if (last && verdict.verdict === 'busy' && verdict.error === 'TFS_DRAINING' && call.outcome === null && !call.cancelled) {
      this.#calls.turnedAway(call);
      return;
    }
    // A single run needs no bookkeeping: its verdict ends the call.
    const run = worker === 0 || (last && call.firstRun === null) ? null : call.run(worker);
    if (run?.ended === true) {
      if (last) this.#calls.finish(call);
      return;
    }
    if (run !== null) run.ended = true;
    this.#calls.runEnded(call, verdict, last);
  }
}

function minimumBytes(type: number): number {
  if (type === RecordType.output) return Layout.output.data;
  if (type === RecordType.result) return Layout.result.detail;
  return type === RecordType.manifest ? Layout.manifest.workers : 4;
}

function verdictOf(worker: string, batch: Buffer, start: number, end: number): RunVerdict {
  const { result } = Layout;
  return {
    worker,
    verdict: verdictName(batch[start + result.verdict] as number),
    exitCode: batch.readInt16LE(start + result.exitCode),
    signal: batch[start + result.signal] as number,
    attempt: batch[start + result.attempt] as number,
    durationUs: batch.readUInt32LE(start + result.durationUs),
    error: errorCode(batch.readUInt16LE(start + result.error)),
    detail: start + result.detail === end ? '' : batch.toString('utf8', start + result.detail, end),
  };
}

function manifestOf(call: PendingCall, session: Session, batch: Buffer, start: number, end: number): Manifest {
  const { manifest } = Layout;
  const workers: string[] = [];
  for (let at = start + manifest.workers; at + 4 <= end; at += 4) {
    const worker = batch.readUInt32LE(at);
    if (worker !== 0) workers.push(session.workerName(worker));
  }
  return {
    get invocation() {
      return formatInvocationId(call.invocation);
    },
    algorithm: algorithmName(batch[start + manifest.algorithm] as number),
    attempt: batch[start + manifest.attempt] as number,
    expected: batch.readUInt16LE(start + manifest.expected),
    workers,
  };
}
