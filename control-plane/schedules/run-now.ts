import { TriggerFsError } from '../../protocol/errors.ts';
import { formatInvocationId, InvocationIds } from '../../runtime/wire/invocation-id.ts';
import type { Principal } from '../auth/principal.ts';
import type { Transaction } from '../database.ts';
import { itemOf, type Target } from './firing.ts';
import type { ScheduleRow } from './repository.ts';

const TARGET = `select s.id, s.team_id as "teamId", s.overlap, s.payload, s.trigger_id as "triggerId", s.retries,
    case when coalesce(s.plugin, t.plugin) is not null then coalesce(s.service, v.name) end as service, coalesce(s.plugin, t.plugin) as plugin,
    coalesce(t.args, '{}') || s.args as args, coalesce((extract(epoch from s.timeout) * 1000)::integer, t.timeout_ms) as "timeoutMs"
  from triggerfs.schedules s
  left join triggerfs.triggers t on t.team_id = s.team_id and t.id = s.trigger_id
  left join triggerfs.services v on v.team_id = t.team_id and v.id = t.service_id
  where s.team_id = $1 and s.id = $2`;

/**
 * Fires a schedule by hand, beside its slots; also a paused one. Returns the invocation and the moment it is recorded under.
 * @throws TriggerFsError TFS_CONFLICT when there is nothing to run
 */
export async function runNow(tx: Transaction, principal: Principal, schedule: ScheduleRow): Promise<{ id: string; dueAt: string }> {
  const [target] = await tx.rows<Omit<Target, 'caller'>>(TARGET, [principal.teamId, schedule.id]);
  if (target === undefined || target.service === null) {
    throw new TriggerFsError(
      'TFS_CONFLICT',
      `the schedule ${schedule.name} has nothing to run: ${schedule.error ?? 'its trigger has no service or no plugin'}`,
    );
  }
  const id = formatInvocationId(new InvocationIds().next());
  const items = JSON.stringify([itemOf({ ...target, caller: principal.identity }, id)]);
  // A slot of the clock may be recorded under the same millisecond.
  for (let due = Date.now(); ; due += 1) {
    const fire = { schedule: schedule.id, team: principal.teamId, due: new Date(due), outcome: 'fired', source: 'manual', invocation: id };
    const sql = 'select triggerfs.record_fires($1, $2, $3) as made';
    const [row] = await tx.rows<{ made: number }>(sql, [JSON.stringify([fire]), items, [Buffer.from(target.payload)]]);
    if (row?.made !== 1) continue;
    const note = 'update triggerfs.schedules set last_fired_at = clock_timestamp(), last_item = $3 where team_id = $1 and id = $2';
    await tx.run(note, [principal.teamId, schedule.id, id]);
    return { id, dueAt: new Date(due).toISOString() };
  }
}
