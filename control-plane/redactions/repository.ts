import { TriggerFsError } from '../../protocol/errors.ts';
import type { RedactionView } from '../../protocol/http/redaction.ts';
import type { Transaction } from '../database.ts';
import { iso } from '../sql.ts';

/** Brokers look for each word in everything that they store. */
const MOST = 100;

/** The words of a team, by name. */
export function listRedactions(tx: Transaction, teamId: number): Promise<RedactionView[]> {
  return tx.rows<RedactionView>(
    `select name, ${iso('created_at')} as "createdAt" from triggerfs.redactions where team_id = $1 order by name`,
    [teamId],
  );
}

/** Keeps a sealed word under a name, in place of the one it had. @throws TriggerFsError TFS_LIMIT */
export async function putRedaction(tx: Transaction, teamId: number, name: string, word: Buffer): Promise<void> {
  const others = await tx.rows('select from triggerfs.redactions where team_id = $1 and name <> $2', [teamId, name]);
  if (others.length >= MOST) throw new TriggerFsError('TFS_LIMIT', `the team has ${MOST} words already`);
  await tx.run(
    `insert into triggerfs.redactions (team_id, name, word) values ($1, $2, $3)
     on conflict (team_id, name) do update set word = excluded.word, created_at = now()`,
    [teamId, name, word],
  );
}

/** Forgets a word; what was stored meanwhile stays blackened. @throws TriggerFsError TFS_NOT_FOUND */
export async function deleteRedaction(tx: Transaction, teamId: number, name: string): Promise<void> {
  const gone = await tx.rows('delete from triggerfs.redactions where team_id = $1 and name = $2 returning id', [teamId, name]);
  if (gone.length === 0) throw new TriggerFsError('TFS_NOT_FOUND', `there is no word ${name}`);
}
