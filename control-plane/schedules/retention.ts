import type { Task } from 'graphile-worker';
import type { Database } from '../database.ts';
import { inBatches } from '../jobs/batches.ts';

const DAYS = 30;
/** So many slots of one schedule are kept: those of a day, when it is due every second. Deleting a schedule deletes them at once. */
const SLOTS = 100_000;

const OLD = `delete from triggerfs.schedule_fires where (schedule_id, due_at) in (
  select f.schedule_id, f.due_at from triggerfs.schedule_fires f where f.fired_at < now() - $2 * interval '1 day' limit $1)`;
const TOO_MANY = `delete from triggerfs.schedule_fires where schedule_id = $2 and due_at in (
  select f.due_at from triggerfs.schedule_fires f where f.schedule_id = $2 and f.due_at <= $3 order by f.due_at limit $1)`;

/** Forgets slots that are old, or of which a schedule has too many. */
export function sweepFires(jobs: Database): Task {
  return async () => {
    const remove = async (sql: string, values: readonly unknown[]): Promise<void> => {
      await inBatches(async (limit) => (await jobs.rows(`${sql} returning 1`, [limit, ...values])).length);
    };
    await remove(OLD, [DAYS]);
    // Others cannot have so many within the days.
    const often = await jobs.rows<{ id: number; last: Date }>(
      `select * from (
         select s.id, (select k.due_at from triggerfs.schedule_fires k where k.schedule_id = s.id order by k.due_at desc offset $1 limit 1) as last
         from triggerfs.schedules s where s.next_run_at - s.last_due_at < $2 * interval '1 day' / $1) o where o.last is not null`,
      [SLOTS, DAYS],
    );
    for (const { id, last } of often) await remove(TOO_MANY, [id, last]);
  };
}
