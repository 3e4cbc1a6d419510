import type { HistoryItem, HistoryQueue } from '../../protocol/http/history.ts';
import { isAdmin, type Principal } from '../auth/principal.ts';
import type { Transaction } from '../database.ts';
import { iso, visible } from '../sql.ts';
import { Conditions } from './conditions.ts';
import { hiddenFrom, leaveOut } from './visibility.ts';

/** Brokers write four times a second; some of them wait for a slow database. */
const FRESH = '5 s';

/** An invocation that the queue knows and the history does not: it has not begun, never will, or is of a service without a history. */
export interface QueuedInvocation extends HistoryItem {
  readonly detail: string;
  readonly args: Record<string, unknown>;
  readonly timeoutMs: number | null;
  /** It ran and ended just now: the history will hear of it in a moment, unless it is of a service without one. */
  readonly fresh: boolean;
}

/** An item of the team's queue that the reader sees, as the history would show it; undefined when there is none. */
export async function findQueued(tx: Transaction, principal: Principal, id: string): Promise<QueuedInvocation | undefined> {
  const found = new Conditions(principal.teamId, id, principal.id, isAdmin(principal)).add('q.team_id = $1').add('q.id = $2');
  leaveOut(await hiddenFrom(tx, principal), found, 'q.service', 'q.accepted_at');
  const [row] = await tx.rows<QueuedInvocation>(
    `select q.id, case when q.ended_at is null then 'accepted' else 'done' end as state, q.verdict, q.exit_code as "exitCode", q.error,
       q.service, q.plugin, null as algorithm, q.source, q.caller,
       (select d.path || '/' || t.name from triggerfs.triggers t join triggerfs.directories d on d.team_id = t.team_id and d.id = t.directory_id
         where t.team_id = q.team_id and t.id = q.trigger_id and ${visible('t', '$3', '$4')}) as trigger,
       q.schedule_id as schedule, '{}'::text[] as workers, ${iso('q.accepted_at')} as "acceptedAt", ${iso('q.ended_at')} as "endedAt",
       (extract(epoch from q.ended_at - q.accepted_at) * 1000)::float8 as "durationMs", 0 as "outputBytes", q.detail, q.args,
       q.timeout_ms as "timeoutMs", coalesce(q.attempt > 0 and q.ended_at > now() - interval '${FRESH}', false) as fresh
     from triggerfs.queue_items q where ${found.sql}`,
    found.values,
  );
  return row;
}

/** What the queue says of the item that an invocation is an attempt of; null when the item is gone. */
export async function queueOf(tx: Transaction, teamId: number, itemId: string, invocation: string): Promise<HistoryQueue | null> {
  const [row] = await tx.rows<HistoryQueue>(
    `select q.id, q.state, ${iso('q.due_at')} as "dueAt",
       coalesce((select max(a.attempt) from triggerfs.queue_attempts a where a.item_id = q.id and a.invocation_id = $3), 0) as attempt,
       array(select a.invocation_id::text from triggerfs.queue_attempts a where a.item_id = q.id
         group by a.invocation_id order by min(a.attempt)) as attempts
     from triggerfs.queue_items q where q.team_id = $1 and q.id = $2`,
    [teamId, itemId, invocation],
  );
  return row ?? null;
}

/** What lists show of it. */
export function summaryOfQueued(queued: QueuedInvocation): HistoryItem {
  const { detail: _detail, args: _args, timeoutMs: _timeout, fresh: _fresh, ...summary } = queued;
  return summary;
}

/** One that has just ended, as it was before: followers wait for its output. */
export function asWaiting(queued: QueuedInvocation): QueuedInvocation {
  return { ...queued, state: 'accepted', verdict: null, exitCode: null, error: null, endedAt: null, durationMs: null };
}
