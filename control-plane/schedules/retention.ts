import type { Task } from 'graphile-worker';
import type { Database } from '../database.ts';

const DAYS = 30;
/** So many slots of one schedule are kept: those of a day, when it is due every second. Deleting a schedule deletes them at once. */
const SLOTS = 100_000;

/** Forgets slots that are old, or of which a schedule has too many. */
export function sweepFires(jobs: Database): Task {
  return async () => {
    await jobs.rows(`delete from triggerfs.schedule_fires where fired_at < now() - $1 * interval '1 day'`, [DAYS]);
    // Others cannot have so many within the days.
    await jobs.rows(
      `delete from triggerfs.schedule_fires f using (
         select s.id, (select k.due_at from triggerfs.schedule_fires k where k.schedule_id = s.id order by k.due_at desc offset $1 limit 1) as last
         from triggerfs.schedules s where s.next_run_at - s.last_due_at < $2 * interval '1 day' / $1) old
       where f.schedule_id = old.id and f.due_at <= old.last`,
      [SLOTS, DAYS],
    );
  };
}
