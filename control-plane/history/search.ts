import type { HistoryQuery } from '../../protocol/http/history.ts';
import type { Principal } from '../auth/principal.ts';
import type { Transaction } from '../database.ts';
import { findTrigger } from '../triggers/repository.ts';
import { Conditions } from './conditions.ts';
import { daysBetween } from './days.ts';
import { readPageCursor } from './page-cursor.ts';
import { readTime } from './time-text.ts';
import { hiddenFrom, leaveOut } from './visibility.ts';

/** A search of invocations, `i`. */
export interface Search {
  readonly from: string;
  /** The column that the list is ordered by. */
  readonly at: string;
  readonly found: Conditions;
}

/** What a worker ran is found along its own runs: the team's invocations that are none of its would have to be looked at one by one. */
const OF_WORKER = {
  from: 'triggerfs.runs r join triggerfs.invocations i on i.team_id = r.team_id and i.id = r.invocation_id and i.day = r.day',
  at: 'r.accepted_at',
} as const;
const OF_TEAM = { from: 'triggerfs.invocations i', at: 'i.accepted_at' } as const;

/**
 * Turns a query into a search that fits the indexes and leaves out the partitions of other days. The first parameter is the team.
 * @throws TriggerFsError TFS_BAD_REQUEST for a time or cursor, TFS_NOT_FOUND or TFS_CONFLICT for a trigger
 */
export async function searchOf(tx: Transaction, principal: Principal, query: HistoryQuery, now = new Date()): Promise<Search> {
  const found = new Conditions(principal.teamId).add('i.team_id = $1');
  const { from, at } = query.worker === undefined ? OF_TEAM : OF_WORKER;
  const days = addTimes(found, at, query, now);
  found.add(`i.day between ${days}`);
  if (query.worker !== undefined) addWorker(found, await workerNames(tx, principal, query.worker), days);
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
  leaveOut(await hiddenFrom(tx, principal), found, 'i.service', 'i.accepted_at');
  return { from, at, found };
}

/** Adds the times; returns the first and the last day that they leave. */
function addTimes(found: Conditions, column: string, { since, until, before }: HistoryQuery, now: Date): string {
  const from = since === undefined ? null : readTime(since, now);
  const to = until === undefined ? null : readTime(until, now);
  const cursor = before === undefined ? null : readPageCursor(before);
  if (from !== null) found.add(`${column} >= ${found.bind(from)}`);
  if (to !== null) found.add(`${column} < ${found.bind(to)}`);
  if (cursor !== null) {
    const at = found.bind(new Date(cursor.listedAt));
    found.add(`${column} <= ${at} and (${column} < ${at} or i.id > ${found.bind(cursor.id)}::uuid)`);
  }
  const newest = Math.min(to?.getTime() ?? Number.POSITIVE_INFINITY, cursor?.listedAt ?? Number.POSITIVE_INFINITY);
  const days = daysBetween(from?.getTime() ?? null, Number.isFinite(newest) ? newest : null);
  return `${found.bind(days.first)}::date and ${found.bind(days.last)}::date`;
}

/** Of several runs of an invocation on the worker the one counts that a broker took last. */
function addWorker(found: Conditions, names: readonly string[], days: string): void {
  const own = names.length === 1 ? `= ${found.bind(names[0])}` : `= any(${found.bind(names)}::text[])`;
  found.add(`r.team_id = $1 and r.day between ${days} and r.identity ${own}`);
  // A subquery stays one: of the few that the page shows, each is looked up.
  found.add(`(r.attempt, r.worker_id) = (select n.attempt, n.worker_id from triggerfs.runs n where n.team_id = r.team_id
    and n.invocation_id = r.invocation_id and n.day = r.day and n.identity ${own}
    order by n.accepted_at desc, n.attempt desc, n.worker_id desc limit 1)`);
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

/** Spellings of a worker's name that it has runs under: mostly one, whose runs are found in their order. */
async function workerNames(tx: Transaction, principal: Principal, name: string): Promise<readonly string[]> {
  const names = await spellings(tx, principal, name);
  if (names.length === 1) return names;
  const found = await tx.rows<{ name: string }>(
    `select n.name from unnest($2::text[]) n (name) where exists (select from triggerfs.runs r where r.team_id = $1 and r.identity = n.name)`,
    [principal.teamId, names],
  );
  return found.length === 0 ? [name] : found.map((row) => row.name);
}
