import { TriggerFsError } from '../../protocol/errors.ts';
import type { QueueAttempt, QueueList, QueueState, QueueSummary, QueueView } from '../../protocol/http/queue.ts';
import type { NewItem } from '../../runtime/acceptance/new-item.ts';
import { isAdmin, type Principal } from '../auth/principal.ts';
import type { Transaction } from '../database.ts';
import { iso, visible } from '../sql.ts';

/** An item with its sealed result. */
export interface ItemRow extends Omit<QueueView, 'attempts' | 'result'> {
  readonly answer: Buffer | null;
}

/** What a list is narrowed to. */
export interface QueueFilter {
  readonly state?: QueueState | undefined;
  readonly service?: string | undefined;
  readonly caller?: string | undefined;
  readonly before?: string | undefined;
  readonly limit: number;
}

const SUMMARY = `i.id, i.state, i.service, i.plugin, i.source, i.caller, i.priority::integer, i.attempt, (i.retries - i.retried)::integer as "retriesLeft",
  ${iso('i.accepted_at')} as "acceptedAt", ${iso('i.due_at')} as "dueAt", ${iso('i.expires_at')} as "expiresAt", ${iso('i.ended_at')} as "endedAt",
  i.verdict, i.exit_code as "exitCode", i.error, i.detail`;

/** Items of a service that is local to somebody else are theirs alone. Parameters: team, user, is admin. */
const SEEN = `i.team_id = $1 and not exists (select from triggerfs.services s
  where s.team_id = i.team_id and lower(s.name) = i.service_key and not ${visible('s', '$2', '$3')})`;

function viewer(principal: Principal): unknown[] {
  return [principal.teamId, principal.id, isAdmin(principal)];
}

/** Refuses what the caller may not invoke or have follow. @throws the database's TF010, which becomes the error it names */
export async function assertCallable(tx: Transaction, principal: Principal, item: NewItem): Promise<void> {
  await tx.rows(
    `select triggerfs.assert_callable($1, $2, $3, $4, $5), triggerfs.assert_follow_up($1, $2, $6), triggerfs.assert_follow_up($1, $2, $7)`,
    [
      principal.teamId,
      principal.id,
      item.service,
      item.plugin,
      JSON.stringify(item.args ?? {}),
      item.onSuccess === undefined ? null : JSON.stringify(item.onSuccess),
      item.onFailure === undefined ? null : JSON.stringify(item.onFailure),
    ],
  );
}

/** An item that the caller sees. @throws TriggerFsError TFS_NOT_FOUND */
export async function findItem(tx: Transaction, principal: Principal, id: string): Promise<ItemRow> {
  const [item] = await tx.rows<ItemRow>(
    `select ${SUMMARY}, i.concurrency_key as "concurrencyKey", i.on_success as "onSuccess", i.on_failure as "onFailure", i.answer
     from triggerfs.queue_items i where ${SEEN} and i.id = $4`,
    [...viewer(principal), id],
  );
  if (item === undefined) throw new TriggerFsError('TFS_NOT_FOUND', `the queue has no invocation ${id}`);
  return item;
}

/** Attempts of an item, the first one first. */
export function listAttempts(tx: Transaction, teamId: number, id: string): Promise<QueueAttempt[]> {
  return tx.rows<QueueAttempt>(
    `select a.attempt, a.invocation_id as invocation, a.worker, ${iso('a.started_at')} as "startedAt", ${iso('a.ended_at')} as "endedAt",
       a.verdict, a.exit_code as "exitCode", a.error, a.detail, a.resumed, a.sends::integer, a.late
     from triggerfs.queue_attempts a where a.team_id = $1 and a.item_id = $2 order by a.attempt`,
    [teamId, id],
  );
}

/** One page of items, newest first, with the numbers of all that the filter's service and the caller's sight leave. */
export async function listItems(tx: Transaction, principal: Principal, filter: QueueFilter): Promise<QueueList> {
  const service = filter.service?.toLowerCase() ?? null;
  const items = await tx.rows<QueueSummary>(
    `select ${SUMMARY} from triggerfs.queue_items i
     where ${SEEN} and ($4::text is null or i.service_key = $4) and ($5::text is null or i.state = $5)
       and ($6::text is null or lower(i.caller) = lower($6)) and ($7::uuid is null or i.id < $7)
     order by i.id desc limit $8`,
    [...viewer(principal), service, filter.state ?? null, filter.caller ?? null, filter.before ?? null, filter.limit + 1],
  );
  const numbers = await tx.rows<{ state: QueueState; count: number; oldest: number }>(
    `select i.state, count(*)::integer as count,
       coalesce(extract(epoch from now() - min(i.due_at) filter (where i.state = 'queued' and i.due_at <= now())) * 1000, 0)::float8 as oldest
     from triggerfs.queue_items i where ${SEEN} and ($4::text is null or i.service_key = $4) group by i.state`,
    [...viewer(principal), service],
  );
  const counts = { queued: 0, running: 0, done: 0, dead: 0, cancelled: 0, expired: 0 };
  for (const { state, count } of numbers) counts[state] = count;
  const page = items.slice(0, filter.limit);
  return {
    items: page,
    next: items.length > filter.limit ? (page.at(-1)?.id ?? null) : null,
    counts,
    oldestAgeMs: Math.round(Math.max(0, ...numbers.map(({ oldest }) => oldest))),
  };
}

/** Asks for the end of an item; returns its state then. */
export async function cancelItem(tx: Transaction, teamId: number, id: string): Promise<QueueState | null> {
  const [row] = await tx.rows<{ state: QueueState | null }>('select triggerfs.queue_cancel($1, $2) as state', [teamId, id]);
  return row?.state ?? null;
}

/** Puts items back into the queue; returns how many had come to a bad end. */
export async function redriveItems(tx: Transaction, teamId: number, ids: readonly string[]): Promise<number> {
  const [row] = await tx.rows<{ count: number }>('select triggerfs.queue_redrive($1, $2) as count', [teamId, ids]);
  return row?.count ?? 0;
}

/** Up to 10,000 items of a service in a state, the oldest first. Only the caller's own, unless they are an admin. */
export async function itemsOf(tx: Transaction, principal: Principal, service: string, state: QueueState): Promise<string[]> {
  const rows = await tx.rows<{ id: string }>(
    `select i.id from triggerfs.queue_items i
     where ${SEEN} and i.service_key = lower($4) and i.state = $5 and ($3::boolean or i.caller = $6) order by i.id limit 10000`,
    [...viewer(principal), service, state, principal.identity],
  );
  return rows.map(({ id }) => id);
}
