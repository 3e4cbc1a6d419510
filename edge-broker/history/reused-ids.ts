import type { Pool } from 'pg';
import { BinaryArray, ElementType } from '../../runtime/postgres/binary-array.ts';
import type { InvocationRecord } from './history-records.ts';

const SQL = `select n.index::integer - 1 as index
  from unnest($1::date[], $2::uuid[], $3::integer[], $4::text[], $5::text[], $6::timestamptz[], $7::boolean[])
    with ordinality as n (day, id, team, source, caller, accepted, resumed, index)
  join triggerfs.invocations i on (i.id, i.day, i.team_id) = (n.id, n.day, n.team)
  where (i.source, i.caller) <> (n.source, n.caller) or (not n.resumed and i.accepted_at <= n.accepted and exists (
    select from triggerfs.runs r where (r.invocation_id, r.day, r.team_id) = (i.id, i.day, i.team_id)
      and (r.verdict is null or r.output_bytes > 0 or r.verdict in ('ok', 'failed', 'timeout', 'cancelled', 'worker-lost'))))`;

/**
 * Finds invocations whose id belongs to another one of the history: callers choose ids, and whoever knows one must not write into its
 * record. The same caller's request that is resumed at another broker is the same one; the broker that had it first may write later. So
 * is one that is sent again because no worker had taken it.
 * Must be asked before anything of the records is written. Marks all as checked, and returns those that are not to be kept.
 */
export async function findReused(pool: Pick<Pool, 'query'>, records: readonly InvocationRecord[]): Promise<readonly InvocationRecord[]> {
  const fresh = [...new Set(records)].filter(({ checked }) => !checked);
  if (fresh.length === 0) return [];
  const { date, uuid, int4, text, timestamptz, bool } = ElementType;
  const [days, ids, teams, sources] = [new BinaryArray(date), new BinaryArray(uuid), new BinaryArray(int4), new BinaryArray(text)];
  const [callers, times, resumed] = [new BinaryArray(text), new BinaryArray(timestamptz), new BinaryArray(bool)];
  for (const { day, id, rule, acceptedAt, resumed: again } of fresh) {
    days.date(day);
    ids.uuid(id);
    teams.int4(rule.teamId);
    sources.text(rule.source);
    callers.text(rule.caller);
    times.timestamptz(acceptedAt);
    resumed.bool(again);
  }
  const columns = [days, ids, teams, sources, callers, times, resumed].map((column) => column.finish());
  const { rows } = await pool.query<{ index: number }>({ name: 'history-reused', text: SQL, values: columns });
  for (const record of fresh) record.checked = true;
  const reused = rows.map(({ index }) => fresh[index] as InvocationRecord);
  for (const record of reused) record.reused = true;
  return reused;
}
