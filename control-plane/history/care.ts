import type { TaskList } from 'graphile-worker';
import type { Pool } from 'pg';
import type { Logger } from '../../runtime/logging.ts';
import type { HistoryMetrics } from './history-metrics.ts';
import { Partitions } from './partitions.ts';
import { Retention } from './retention.ts';
import { RollUp } from './roll-up.ts';

/** Days after which a team's data key is replaced. */
const KEY_DAYS = 30;

/** When the tasks run, in UTC. */
export const HISTORY_CRONTAB = [
  '* * * * * close_lost_invocations ?max=3',
  '2 * * * * roll_up_history ?max=3',
  '26 3 * * * roll_up_history ?id=roll_up_day&max=3 {hours:26}',
  '17 * * * * make_history_partitions ?max=3',
  '*/10 * * * * keep_history_short ?max=3',
  '31 2 * * * rotate_team_keys ?max=3',
] as const;

/** The tasks that look after the history. The pool's login must own its tables, and a statement may take minutes. */
export function historyTasks(pool: Pool, log: Logger, metrics: HistoryMetrics | null): TaskList {
  const partitions = new Partitions(pool);
  const retention = new Retention(pool, partitions, log);
  const rollUp = new RollUp(pool, metrics);
  return {
    close_lost_invocations: async () => void (await pool.query('select triggerfs.close_lost_invocations()')),
    roll_up_history: (payload) => rollUp.run((payload as { hours?: number } | null)?.hours),
    make_history_partitions: async () => void (await partitions.make()),
    keep_history_short: async () => void (await retention.enforce()),
    rotate_team_keys: async () =>
      void (await pool.query('select triggerfs.rotate_team_keys($1), triggerfs.delete_team_keys()', [KEY_DAYS])),
  };
}
