import { errorCode } from '../../protocol/errors.ts';
import { historyDay } from '../../protocol/history-block.ts';
import { joinOutcome, type RunVerdict } from '../../protocol/outcome.ts';
import { slotInvocationId } from '../../runtime/wire/slot-id.ts';
import type { Directory } from '../directory/directory.ts';
import { InvocationRecord, RunRecord } from '../history/history-records.ts';
import { argsJson, type HistoryRule, storable } from '../history/history-rule.ts';
import type { FireChunk, ReportedFire } from './fires-record.ts';

/** What is known of a fire beside what its worker says. */
export interface FireContext {
  readonly teamId: number;
  readonly workerId: number;
  readonly identity: string;
  /** Owner of the schedule; empty when it is gone. */
  readonly caller: string;
  readonly triggerId: number | null;
}

type ReportedRun = NonNullable<ReportedFire['report']['run']>;

/** The records of one fire for the history; null when nothing is kept of it. */
export function fireRecords(
  { report, chunks }: ReportedFire,
  context: FireContext,
  directory: Directory,
): { invocation: InvocationRecord; run: RunRecord } | null {
  const { run } = report;
  if (run === undefined) return null;
  const rule = ruleOf(run, report.schedule, context, directory);
  if (rule === null) return null;
  const id = slotInvocationId(report.schedule, report.due);
  const payload = rule.level === 'output' && run.payload !== '' ? Buffer.from(run.payload) : null;
  const invocation = new InvocationRecord({
    rule,
    id,
    day: historyDay(id, Date.now()),
    payload,
    payloadBytes: Buffer.byteLength(run.payload),
    timeoutMs: Math.min(run.timeoutMs, 0x7fffffff),
    deadline: run.startedAt + run.timeoutMs,
    expected: 1,
    acceptedAt: report.at,
    resumed: false,
  });
  const record = runRecord(invocation, run, context);
  if (rule.level === 'output') addOutput(record, chunks, run.endedAt, run.droppedBytes > 0);
  const outputBytes = chunks.reduce((sum, { data }) => sum + data.length, run.droppedBytes);
  record.outputBytes = outputBytes;
  invocation.outputBytes = outputBytes;
  return { invocation, run: record };
}

function ruleOf(run: ReportedRun, schedule: number, { teamId, caller, triggerId }: FireContext, directory: Directory): HistoryRule | null {
  const home = directory.team(teamId);
  const service = home?.services.get(run.service.toLowerCase());
  const trigger = triggerId === null ? undefined : home?.triggers.get(triggerId);
  const level = trigger?.history ?? service?.history ?? 'output';
  if (level === 'off') return null;
  return {
    level,
    teamId,
    source: 'schedule',
    caller,
    service: storable(run.service),
    plugin: run.plugin,
    algorithm: 'direct',
    trigger: triggerId,
    schedule,
    item: null,
    args: argsJson(run.args),
  };
}

function runRecord(invocation: InvocationRecord, run: ReportedRun, { workerId, identity }: FireContext): RunRecord {
  const verdict: RunVerdict = {
    worker: identity,
    verdict: run.verdict,
    exitCode: run.exitCode,
    signal: run.signal,
    attempt: 0,
    durationUs: run.durationUs,
    error: errorCode(run.error),
    detail: storable(run.droppedBytes === 0 ? run.detail : withDropped(run.detail, run.droppedBytes)),
  };
  const record = new RunRecord(invocation, { workerId, identity, attempt: 0, startedAt: run.startedAt, repeated: false });
  record.verdict = verdict;
  record.endedAt = run.endedAt;
  record.rowDirty = true;
  invocation.outcome = joinOutcome(null, verdict);
  invocation.endedAt = run.endedAt;
  return record;
}

function withDropped(detail: string, bytes: number): string {
  const note = `the worker’s journal had no room for ${bytes} bytes of its output`;
  return detail === '' ? note : `${detail}; ${note}`;
}

/** When each piece came is not reported: all have the time of the end. */
function addOutput(record: RunRecord, chunks: readonly FireChunk[], at: number, incomplete: boolean): void {
  if (incomplete) record.output.markGap();
  chunks.forEach(({ stderr, data }, sequence) => {
    record.output.append(stderr, sequence, at, data, 0, data.length);
  });
}
