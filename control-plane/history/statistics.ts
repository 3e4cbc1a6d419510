import { TriggerFsError } from '../../protocol/errors.ts';
import type { StatisticsHour, StatisticsQuery } from '../../protocol/http/history.ts';
import type { Principal } from '../auth/principal.ts';
import type { Transaction } from '../database.ts';
import { iso } from '../sql.ts';
import { Conditions } from './conditions.ts';
import { readTime } from './time-text.ts';
import { hiddenFrom, leaveOut } from './visibility.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const KEPT_DAYS = 400;
/** Hours that were not added up yet are computed for each answer, but not more than a day of them. */
const LIVE_MS = DAY_MS;
/** An invocation runs for a week at most, and its day is that of its id. */
const LONGEST_DAYS = 9;

/**
 * Invocations of the services that the reader sees, by the hour in which they ended, newest first.
 * @throws TriggerFsError TFS_BAD_REQUEST for a time
 */
export async function listStatistics(
  tx: Transaction,
  principal: Principal,
  query: StatisticsQuery,
  now = new Date(),
): Promise<StatisticsHour[]> {
  const since = readTime(query.since ?? '-24h', now);
  if (now.getTime() - since.getTime() > KEPT_DAYS * DAY_MS) {
    throw new TriggerFsError('TFS_BAD_REQUEST', `statistics are kept for ${KEPT_DAYS} days; ${query.since} is longer ago`);
  }
  const [progress] = await tx.rows<{ until: Date }>('select until from triggerfs.statistics_progress');
  const first = Math.floor(since.getTime() / HOUR_MS) * HOUR_MS;
  const liveFrom = Math.max(first, progress?.until.getTime() ?? 0, now.getTime() - LIVE_MS);
  const hidden = await hiddenFrom(tx, principal);
  const kept = new Conditions(principal.teamId).add('h.team_id = $1');
  kept.add(`h.hour >= ${kept.bind(new Date(first))} and h.hour < ${kept.bind(new Date(Math.max(first, liveFrom)))}`);
  if (query.service !== undefined) kept.add(`lower(h.service) = lower(${kept.bind(query.service)})`);
  leaveOut(hidden, kept, 'h.service', 'h.hour');
  const live = new Conditions(principal.teamId, new Date(liveFrom)).add('i.team_id = $1').add('i.verdict is not null and i.ended_at >= $2');
  live.add(`i.day >= ($2::timestamptz at time zone 'UTC')::date - ${LONGEST_DAYS}`);
  if (query.service !== undefined) live.add(`lower(i.service) = lower(${live.bind(query.service)})`);
  leaveOut(hidden, live, 'i.service', 'i.accepted_at');
  return [
    ...(await tx.rows<StatisticsHour>(liveSql(live.sql), live.values)),
    ...(await tx.rows<StatisticsHour>(keptSql(kept.sql), kept.values)),
  ];
}

function keptSql(where: string): string {
  return `select h.service, ${iso('h.hour')} as hour, h.count, h.failures, h.p50_ms as "p50Ms", h.p95_ms as "p95Ms", false as live
    from triggerfs.statistics h where ${where} order by h.hour desc, h.service`;
}

function liveSql(where: string): string {
  const took = 'extract(epoch from i.ended_at - i.accepted_at)::float8 * 1000';
  return `select l.service, ${iso('l.hour')} as hour, l.count, l.failures, l.p50 as "p50Ms", l.p95 as "p95Ms", true as live from (
      select i.service, date_trunc('hour', i.ended_at, 'UTC') as hour, count(*)::integer as count,
        count(*) filter (where i.verdict not in ('ok', 'cancelled'))::integer as failures,
        percentile_cont(0.5) within group (order by ${took}) as p50, percentile_cont(0.95) within group (order by ${took}) as p95
      from triggerfs.invocations i where ${where} group by 1, 2) l
    order by l.hour desc, l.service`;
}
