import type { Task } from 'graphile-worker';
import { TriggerFsError } from '../../protocol/errors.ts';
import type { Logger } from '../../runtime/logging.ts';
import { open, type TeamKeys } from '../../runtime/sealing/index.ts';
import type { Database } from '../database.ts';
import { checkCallback } from './callback-address.ts';
import { postCallback } from './callback-post.ts';
import { readCallbackSecret } from './callback-secret.ts';

/** What the body of a callback is sealed with. */
export function callbackAad(team: number, id: string): string {
  return `callback|${team}|${id}`;
}

interface CallbackRow {
  readonly team_id: number;
  readonly item_id: string;
  readonly url: string;
  readonly body: Buffer;
}

/** Options of the task. */
export interface CallbackOptions {
  /** As the role triggerfs_jobs. */
  readonly database: Database;
  readonly keys: TeamKeys;
  /** Hosts that may be anywhere. */
  readonly allowed: readonly string[];
  readonly log: Logger;
}

/**
 * The task `queue_callback`: posts one result. graphile-worker tries again with growing pauses, for about a day and a half;
 * what nobody takes then, or must not be sent at all, ends as a letter to the team.
 */
export function callbackTask({ database, keys, allowed, log }: CallbackOptions): Task {
  return async (payload, { job }) => {
    const { id } = payload as { id: string };
    const [row] = await database.rows<CallbackRow>('select team_id, item_id, url, body from triggerfs.queue_callbacks where id = $1', [id]);
    if (row === undefined) return;
    try {
      const body = await open(keys, row.team_id, callbackAad(row.team_id, id), row.body);
      const secret = await database.fleet((tx) => readCallbackSecret(tx, keys, row.team_id));
      await postCallback(await checkCallback(row.url, allowed), id, body, secret);
    } catch (thrown) {
      const error = TriggerFsError.from(thrown);
      if (error.definition.retryable && job.attempts < job.max_attempts) throw error;
      log.info(`a callback of invocation ${row.item_id} is given up: ${error.message}`);
      await database.rows('select triggerfs.send_mail($1, null, $2, $3, $4)', [
        row.team_id,
        'queue',
        'A callback was not delivered',
        `The result of invocation ${row.item_id} was not delivered: ${error.message}. It was tried ${job.attempts} times.`,
      ]);
    }
    await database.rows('delete from triggerfs.queue_callbacks where id = $1', [id]);
  };
}
