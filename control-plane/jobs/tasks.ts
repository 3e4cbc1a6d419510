import type { Task, TaskList } from 'graphile-worker';
import type { Database } from '../database.ts';
import { HISTORY_CRONTAB } from '../history/care.ts';
import type { KeyRing } from '../keys/key-ring.ts';
import { sweepFires } from '../schedules/retention.ts';
import { inBatches } from './batches.ts';

/** When the tasks run, in UTC. Several control-planes share one clock: each slot runs once. */
export const CRONTAB = [
  '* * * * * sweep_fleet ?max=3',
  '* * * * * heal_schedules ?max=3',
  '* * * * * watch_troubles ?max=3',
  '41 * * * * sweep_fires ?max=3',
  '53 * * * * repair_queue ?max=3',
  '23 * * * * rotate_keys ?max=3',
  ...HISTORY_CRONTAB,
].join('\n');

/** Removes what has ended by itself: brokers that are gone (with the presence they wrote), revocations, codes, invitations and letters. */
export function sweepFleet(jobs: Database): Task {
  return async () => {
    // An hour is longer than any outage of the database should be: brokers that beat again are not forgotten.
    await jobs.fleet(async (tx) => {
      await tx.run(
        `delete from triggerfs.brokers
         where beat_at < now() - interval '1 hour' or (state = 'down' and beat_at < now() - interval '5 minutes')`,
      );
      await tx.run('delete from triggerfs.revoked_sessions where expires_at < now()');
      await tx.rows('select triggerfs.sweep_people()');
    });
  };
}

/** Forgets what ended long ago in the queue, and gives items a job whose job is lost. */
export function repairQueue(jobs: Database): Task {
  const sql = 'select forgotten::float8 as forgotten from triggerfs.queue_repair($1)';
  return async () => {
    await inBatches(async (limit) => (await jobs.rows<{ forgotten: number }>(sql, [limit]))[0]?.forgotten ?? 0);
  };
}

/** All tasks of the control-plane. */
export function taskList(jobs: Database, keys: KeyRing): TaskList {
  return {
    sweep_fleet: sweepFleet(jobs),
    heal_schedules: async () => void (await jobs.rows('select triggerfs.lapse_holds(), triggerfs.heal_schedules()')),
    watch_troubles: async () => void (await jobs.rows('select triggerfs.watch_troubles()')),
    sweep_fires: sweepFires(jobs),
    repair_queue: repairQueue(jobs),
    rotate_keys: async () => keys.rotate(),
  };
}
