import type { HistoryQuery } from '../../protocol/http/history.ts';
import type { Principal } from '../auth/principal.ts';
import type { Transaction } from '../database.ts';
import { findTrigger } from '../triggers/repository.ts';
import { Conditions } from './conditions.ts';
import { daysBetween } from './days.ts';
import { readPageCursor } from './page-cursor.ts';
import { readTime } from './time-text.ts';
import { hiddenFrom, leaveOut } from './visibility.ts';

/**
 * Turns a query into conditions on `triggerfs.invocations i` that fit the indexes and leave out the partitions of other days.
 * The first parameter is the team.
 * @throws TriggerFsError TFS_BAD_REQUEST for a time or cursor, TFS_NOT_FOUND or TFS_CONFLICT for a trigger
 */
export async function searchOf(tx: Transaction, principal: Principal, query: HistoryQuery, now = new Date()): Promise<Conditions> {
  const found = new Conditions(principal.teamId).add('i.team_id = $1');
  addTimes(found, query, now);
  if (query.service !== undefined) {
    found.add(`i.service = any(${found.bind(await spellings(tx, principal, query.service))}::text[])`);
  }
  if (query.trigger !== undefined) {
    found.add(`i.trigger_id = ${found.bind((await findTrigger(tx, principal, query.trigger)).id)}::integer`);
  }
  addVerdict(found, query.verdict);
  if (query.caller !== undefined) found.add(`lower(i.caller) = lower(${found.bind(query.caller)})`);
  if (query.source !== undefined) found.add(`i.source = ${found.bind(query.source)}`);
  if (query.plugin !== undefined) found.add(`i.plugin = ${found.bind(query.plugin)}`);
  if (query.worker !== undefined) {
    const workers = found.bind(await spellings(tx, principal, query.worker));
    found.add(`exists (select from triggerfs.runs r
      where r.team_id = $1 and r.day = i.day and r.invocation_id = i.id and r.identity = any(${workers}::text[]))`);
  }
  leaveOut(await hiddenFrom(tx, principal), found, 'i.service', 'i.accepted_at');
  return found;
}

/** Times by themselves, and the days that they leave. */
function addTimes(found: Conditions, { since, until, before }: HistoryQuery, now: Date): void {
  const from = since === undefined ? null : readTime(since, now);
  const to = until === undefined ? null : readTime(until, now);
  const cursor = before === undefined ? null : readPageCursor(before);
  if (from !== null) found.add(`i.accepted_at >= ${found.bind(from)}`);
  if (to !== null) found.add(`i.accepted_at < ${found.bind(to)}`);
  if (cursor !== null) {
    const at = found.bind(new Date(cursor.acceptedAt));
    found.add(`i.accepted_at <= ${at} and (i.accepted_at < ${at} or i.id > ${found.bind(cursor.id)}::uuid)`);
  }
  const newest = Math.min(to?.getTime() ?? Number.POSITIVE_INFINITY, cursor?.acceptedAt ?? Number.POSITIVE_INFINITY);
  const days = daysBetween(from?.getTime() ?? null, Number.isFinite(newest) ? newest : null);
  found.add(`i.day between ${found.bind(days.first)}::date and ${found.bind(days.last)}::date`);
}

function addVerdict(found: Conditions, verdict: HistoryQuery['verdict']): void {
  if (verdict === undefined) return;
  found.add(verdict === 'running' ? 'i.verdict is null' : `i.verdict = ${found.bind(verdict)}`);
  // Said once more in the words of the index on what did not go well.
  if (verdict !== 'ok') found.add(`i.verdict is distinct from 'ok'`);
}

/** A name as it was written, and as the team's service or worker of that name spells it: the index knows case. */
async function spellings(tx: Transaction, { teamId }: Principal, name: string): Promise<string[]> {
  const found = await tx.rows<{ name: string }>(
    `select name from triggerfs.services where team_id = $1 and lower(name) = lower($2)
     union select identity from triggerfs.workers where team_id = $1 and lower(identity) = lower($2)`,
    [teamId, name],
  );
  return [...new Set([name, ...found.map((row) => row.name)])];
}
