import { randomBytes } from 'node:crypto';
import { open, seal, type TeamKeys } from '../../runtime/sealing/index.ts';
import type { Transaction } from '../database.ts';

const SECRET_BYTES = 32;

/** The secret that a team's callbacks are signed with; made when it is asked for the first time. */
export async function readCallbackSecret(tx: Transaction, keys: TeamKeys, teamId: number): Promise<Buffer> {
  const fresh = seal(await keys.current(teamId), secretAad(teamId), randomBytes(SECRET_BYTES));
  await tx.run('insert into triggerfs.queue_secrets (team_id, secret) values ($1, $2) on conflict do nothing', [teamId, fresh]);
  const [row] = await tx.rows<{ secret: Buffer }>('select secret from triggerfs.queue_secrets where team_id = $1', [teamId]);
  return open(keys, teamId, secretAad(teamId), (row as { secret: Buffer }).secret);
}

/** Gives the team another secret: callbacks are signed with it from now on. */
export async function replaceCallbackSecret(tx: Transaction, keys: TeamKeys, teamId: number): Promise<Buffer> {
  const secret = randomBytes(SECRET_BYTES);
  const sealed = seal(await keys.current(teamId), secretAad(teamId), secret);
  await tx.run(
    `insert into triggerfs.queue_secrets as s (team_id, secret) values ($1, $2)
     on conflict (team_id) do update set secret = excluded.secret, created_at = now()`,
    [teamId, sealed],
  );
  return secret;
}

function secretAad(teamId: number): string {
  return `callback-secret|${teamId}`;
}
