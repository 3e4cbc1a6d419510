import { TriggerFsError } from '../../protocol/errors.ts';
import type { MailView } from '../../protocol/http/mailbox.ts';
import type { Principal } from '../auth/principal.ts';
import type { Database, Transaction } from '../database.ts';
import { iso } from '../sql.ts';

/** What is sent. */
export interface Letter {
  /** One lower-case word that readers can tell apart: `invite`, `worker`, `quota`, `maintenance`. */
  readonly kind: string;
  readonly subject: string;
  readonly body: string;
}

/** Which letters to list. */
export interface MailFilter {
  readonly unread: boolean;
  /** Only those with a smaller id; null: from the newest. */
  readonly before: number | null;
  readonly limit: number;
}

/** Letters in the mailboxes of the caller; a team's letters from before they joined are not theirs. */
const MAILS = `select l.id, case when l.team_id is null then 'user' else 'team' end as "to", l.kind, l.subject, l.body,
    ${iso('l.created_at')} as "createdAt", ${iso('r.read_at')} as "readAt"
  from triggerfs.mails l
  left join triggerfs.memberships m on m.team_id = l.team_id and m.user_id = $1
  left join triggerfs.mail_reads r on r.mail_id = l.id and r.user_id = $1
  where (l.user_id = $1 or (l.team_id = $2 and l.created_at >= m.created_at))`;

/** Sends a letter to the mailbox of a team or a user, in the sender's transaction: it is rolled back with it. */
export async function sendMail(
  tx: Transaction,
  to: { readonly teamId: number } | { readonly userId: number },
  letter: Letter,
): Promise<void> {
  const values = ['teamId' in to ? to.teamId : null, 'userId' in to ? to.userId : null, letter.kind, letter.subject, letter.body];
  await tx.rows('select triggerfs.send_mail($1, $2, $3, $4, $5)', values);
}

/** Letters of the caller, newest first; the transaction is theirs. */
export function listMails(tx: Transaction, principal: Principal, filter: MailFilter): Promise<MailView[]> {
  return tx.rows<MailView>(
    `${MAILS} and ($3::boolean is false or r.read_at is null) and ($4::integer is null or l.id < $4) order by l.id desc limit $5`,
    [principal.id, principal.teamId, filter.unread, filter.before, filter.limit],
  );
}

/** Marks a letter as read by the caller; reading it again changes nothing. @throws TriggerFsError TFS_NOT_FOUND */
export async function readMail(tx: Transaction, principal: Principal, id: number): Promise<void> {
  const [mail] = await tx.rows<MailView>(`${MAILS} and l.id = $3`, [principal.id, principal.teamId, id]);
  if (mail === undefined) throw new TriggerFsError('TFS_NOT_FOUND', `there is no letter ${id}`);
  await tx.run('insert into triggerfs.mail_reads (mail_id, user_id) values ($1, $2) on conflict do nothing', [id, principal.id]);
}

/** Number of letters that a user has not read, in their own mailbox and in that of the team (0: in no team). */
export async function countUnread(database: Database, userId: number, teamId: number): Promise<number> {
  const [row] = await database.rows<{ unread: number }>('select triggerfs.unread_mails($1, $2) as unread', [userId, teamId]);
  return row?.unread ?? 0;
}
