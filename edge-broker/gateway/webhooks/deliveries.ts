import { createHash } from 'node:crypto';
import type { Pool } from 'pg';
import { TriggerFsError } from '../../../protocol/errors.ts';
import type { HookConfig } from '../../directory/team.ts';

/** Remembers deliveries of hooks that answer at once, so that none runs twice. */
export class Deliveries {
  readonly #pool: Pick<Pool, 'query'>;

  constructor(pool: Pick<Pool, 'query'>) {
    this.#pool = pool;
  }

  /** Notes a delivery. @throws TriggerFsError TFS_CONFLICT when it came before, TFS_UNAVAILABLE when that is not known */
  async note({ teamId, id, name }: HookConfig, identity: string): Promise<void> {
    let isNew: boolean | undefined;
    try {
      const sql = 'select triggerfs.note_delivery($1, $2, $3) as new';
      isNew = (await this.#pool.query<{ new: boolean }>(sql, [teamId, id, keyOf(identity)])).rows[0]?.new;
    } catch (cause) {
      throw new TriggerFsError('TFS_UNAVAILABLE', 'the database is not available, so whether this came before is not known', { cause });
    }
    if (isNew !== true) throw new TriggerFsError('TFS_CONFLICT', `the hook ${name} has had this delivery already`);
  }

  /** Takes back a delivery that reached no worker; its sender may repeat it. */
  async forget({ teamId, id }: HookConfig, identity: string): Promise<void> {
    await this.#pool.query('select triggerfs.forget_delivery($1, $2, $3)', [teamId, id, keyOf(identity)]);
  }
}

function keyOf(identity: string): Buffer {
  return createHash('sha256').update(identity).digest();
}
