import { TriggerFsError } from '../../protocol/errors.ts';
import type { HistoryInvocation, HistoryItem, HistoryQuery, HistoryRun } from '../../protocol/http/history.ts';
import { HISTORY_PAGE } from '../../protocol/http/history.ts';
import { isAdmin, type Principal } from '../auth/principal.ts';
import type { Transaction } from '../database.ts';
import { iso, visible } from '../sql.ts';
import { Conditions } from './conditions.ts';
import { daysOf } from './days.ts';
import { formatPageCursor } from './page-cursor.ts';
import { searchOf } from './search.ts';
import { hiddenFrom, leaveOut } from './visibility.ts';

/** Where the rows of an invocation are. */
export interface Place {
  readonly teamId: number;
  readonly id: string;
  /** `2026-11-21`: its partition. */
  readonly day: string;
}

/** A list entry and where it is. */
export interface HistoryRow extends HistoryItem {
  readonly day: string;
  /** The time that the list is ordered by, in milliseconds since 1970. */
  readonly listedMs: number;
}

/** An invocation without its runs, and where it is. */
export type InvocationRow = Omit<HistoryInvocation, 'runs' | 'queue' | 'outputKept'> & {
  readonly day: string;
  readonly itemId: string | null;
  readonly triggerId: number | null;
};

/** Run of an invocation, and how its output is found. */
export interface RunRow extends HistoryRun {
  readonly workerId: number;
}

const milliseconds = (to: string, from: string): string => `(extract(epoch from ${to} - ${from}) * 1000)::float8`;

/** Parameters: user id and whether they are an admin. */
function summary(user: string, admin: string): string {
  return `i.id, to_char(i.day, 'YYYY-MM-DD') as day, case when i.verdict is null then 'running' else 'done' end as state, i.verdict,
    i.exit_code as "exitCode", i.error, i.service, i.plugin, i.algorithm, i.source, i.caller,
    (select d.path || '/' || t.name from triggerfs.triggers t join triggerfs.directories d on d.team_id = t.team_id and d.id = t.directory_id
      where t.team_id = i.team_id and t.id = i.trigger_id and ${visible('t', user, admin)}) as trigger,
    i.schedule_id as schedule,
    array(select r.identity from triggerfs.runs r where r.team_id = i.team_id and r.day = i.day and r.invocation_id = i.id and r.identity <> ''
      group by r.identity order by min(r.started_at), min(r.worker_id)) as workers,
    ${iso('i.accepted_at')} as "acceptedAt", ${iso('i.ended_at')} as "endedAt", ${milliseconds('i.ended_at', 'i.accepted_at')} as "durationMs",
    i.output_bytes::float8 as "outputBytes"`;
}

/** A page of the team's history, newest first. @throws like `searchOf` */
export async function listHistory(
  tx: Transaction,
  principal: Principal,
  query: HistoryQuery,
): Promise<{ items: HistoryRow[]; next: string | null }> {
  const limit = Number(query.limit ?? HISTORY_PAGE.default);
  const { from, at, found } = await searchOf(tx, principal, query);
  const columns = summary(found.bind(principal.id), found.bind(isAdmin(principal)));
  const rows = await tx.rows<HistoryRow>(
    `select ${columns}, extract(epoch from ${at})::float8 * 1000 as "listedMs" from ${from} where ${found.sql} order by ${at} desc, i.id limit ${limit + 1}`,
    found.values,
  );
  const items = rows.slice(0, limit);
  const last = items.at(-1);
  const more = rows.length > limit && last !== undefined;
  return { items, next: more ? formatPageCursor({ listedAt: last.listedMs, id: last.id }) : null };
}

/** An invocation of the team that the reader sees; undefined when there is none. */
export async function findInvocation(tx: Transaction, principal: Principal, id: string): Promise<InvocationRow | undefined> {
  const found = new Conditions(principal.teamId, id).add('i.team_id = $1').add('i.id = $2');
  const days = daysOf(id, Date.now());
  found.add(`i.day between ${found.bind(days.first)}::date and ${found.bind(days.last)}::date`);
  leaveOut(await hiddenFrom(tx, principal), found, 'i.service', 'i.accepted_at');
  const columns = summary(found.bind(principal.id), found.bind(isAdmin(principal)));
  const [row] = await tx.rows<InvocationRow>(
    `select ${columns}, i.item_id as "itemId", i.trigger_id as "triggerId", i.args, i.timeout_ms as "timeoutMs", ${iso('i.deadline_at')} as "deadlineAt", i.expected,
       coalesce(i.detail, '') as detail, i.payload_bytes as "payloadBytes", (i.payload is not null or i.payload_bytes = 0) as replayable
     from triggerfs.invocations i where ${found.sql}`,
    found.values,
  );
  return row;
}

/** What lists show of an invocation. */
export function summaryOf({ id, state, verdict, exitCode, error, ...row }: InvocationRow): HistoryItem {
  const { service, plugin, algorithm, source, caller, trigger, schedule, workers, acceptedAt, endedAt, durationMs, outputBytes } = row;
  const how = { service, plugin, algorithm, source, caller, trigger, schedule, workers };
  return { id, state, verdict, exitCode, error, ...how, acceptedAt, endedAt, durationMs, outputBytes };
}

/** Runs of an invocation in the order in which they began. */
export function listRuns(tx: Transaction, { teamId, id, day }: Place): Promise<RunRow[]> {
  return tx.rows<RunRow>(
    `select r.worker_id as "workerId", r.identity as worker, r.attempt, r.verdict, r.exit_code as "exitCode", r.signal, r.error,
       coalesce(r.detail, '') as detail, ${iso('r.started_at')} as "startedAt", ${iso('r.ended_at')} as "endedAt",
       (r.duration_us / 1000.0)::float8 as "durationMs", r.output_bytes::float8 as "outputBytes"
     from triggerfs.runs r where r.team_id = $1 and r.invocation_id = $2 and r.day = $3::date
     order by r.started_at, r.worker_id, r.attempt`,
    [teamId, id, day],
  );
}

/** Whether anything of an invocation's output is kept. */
export async function hasOutput(tx: Transaction, { teamId, id, day }: Place): Promise<boolean> {
  const [row] = await tx.rows<{ kept: boolean }>(
    'select exists (select from triggerfs.outputs o where o.team_id = $1 and o.invocation_id = $2 and o.day = $3::date) as kept',
    [teamId, id, day],
  );
  return row?.kept === true;
}

/** @returns the error for an invocation that is not there, is not kept, or is not the reader's to see: they look the same */
export function noInvocation(id: string): TriggerFsError {
  return new TriggerFsError('TFS_NOT_FOUND', `the history has no invocation ${id}`);
}
