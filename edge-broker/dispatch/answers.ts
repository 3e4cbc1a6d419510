import { algorithmNumber } from '../../protocol/algorithms.ts';
import { ERRORS, type ErrorCode } from '../../protocol/errors.ts';
import { Layout, RecordFlag, RecordType } from '../../protocol/records.ts';
import { Verdict, type VerdictNumber } from '../../protocol/verdicts.ts';
import type { Session } from '../session/session.ts';
import type { Invocation } from './invocation.ts';

/** A verdict that the broker itself gives. */
export interface BrokerVerdict {
  readonly verdict: VerdictNumber;
  readonly error: ErrorCode | null;
  /** What happened, for people. */
  readonly detail: string;
}

/** A worker was lost that may have begun, and the service or the request lets the caller ask for another run. */
export function askAgain(detail: string): BrokerVerdict {
  return { verdict: Verdict.noWorker, error: 'TFS_WORKER_LOST', detail };
}

/** A worker as the manifest names it; id 0 means that it is not chosen yet. */
export interface ExpectedWorker {
  readonly id: number;
  readonly identity: string;
}

/** Writes the MANIFEST of an invocation: sent before any output, and again when a run gets (another) worker. */
export function writeManifest(invocation: Invocation, workers: readonly ExpectedWorker[], attempt: number, limitMs: number): void {
  if (invocation.orphaned) return;
  const { session } = invocation;
  for (const worker of workers) if (worker.id !== 0) session.nameWorker(worker.id, worker.identity);
  const layout = Layout.manifest;
  const at = session.outbox.reserveLingering(RecordType.manifest, 0, layout.workers + 4 * workers.length);
  const buffer = session.outbox.buffer;
  buffer.writeUInt32LE(invocation.call, at + layout.call);
  buffer[at + layout.algorithm] = algorithmNumber(invocation.service.config.algorithm);
  buffer[at + layout.attempt] = attempt;
  buffer.writeUInt16LE(workers.length, at + layout.expected);
  buffer.writeUInt32LE(Math.max(0, Math.round(limitMs)), at + layout.limitMs);
  let offset = at + layout.workers;
  for (const worker of workers) offset = buffer.writeUInt32LE(worker.id, offset);
}

/** Writes a RESULT with a verdict of the broker's own. `worker` is 0 when the run never had one. */
export function writeVerdict(session: Session, call: number, worker: number, attempt: number, given: BrokerVerdict, last: boolean): void {
  const layout = Layout.result;
  const detail = Buffer.from(given.detail);
  const at = session.outbox.reserve(RecordType.result, last ? RecordFlag.last : 0, layout.detail + detail.length);
  const buffer = session.outbox.buffer;
  buffer.writeUInt32LE(call, at + layout.call);
  buffer.writeUInt32LE(worker, at + layout.worker);
  buffer.writeUInt32LE(0, at + layout.durationUs);
  buffer.writeInt16LE(0, at + layout.exitCode);
  buffer[at + layout.verdict] = given.verdict;
  buffer[at + layout.attempt] = attempt;
  buffer[at + layout.signal] = 0;
  buffer[at + layout.signal + 1] = 0;
  buffer.writeUInt16LE(given.error === null ? 0 : ERRORS[given.error].number, at + layout.error);
  detail.copy(buffer, at + layout.detail);
}
