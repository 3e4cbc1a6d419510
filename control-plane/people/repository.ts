import { TriggerFsError } from '../../protocol/errors.ts';
import type { Database, Transaction } from '../database.ts';

/** Someone who signs up. */
export interface NewPerson {
  readonly identity: string;
  readonly email: string;
  readonly password: string;
  /** bcrypt cost. */
  readonly cost: number;
  /** SHA-256 of the activation code. */
  readonly codeHash: Buffer;
}

/** Makes an account that waits for its code. Returns the identity that has the mail address already, or null. */
export async function signUp(tx: Transaction, person: NewPerson): Promise<string | null> {
  const [row] = await tx.rows<{ holder: string | null }>('select triggerfs.sign_up($1, $2, $3, $4, $5) as holder', [
    person.identity,
    person.email,
    person.password,
    person.cost,
    person.codeHash,
  ]);
  return row?.holder ?? null;
}

/** Puts the mail to an account that waits for its code on its way; it is rolled back with the transaction. */
export async function queueAccountMail(tx: Transaction, identity: string): Promise<void> {
  await tx.rows('select triggerfs.queue_mail(id, null) from triggerfs.users where lower(identity) = lower($1)', [identity]);
}

/** Puts the mail of an invitation on its way; it is rolled back with the transaction. */
export async function queueInviteMail(tx: Transaction, invite: number): Promise<void> {
  await tx.rows('select triggerfs.queue_mail(null, $1)', [invite]);
}

/**
 * Gives a waiting account another code; undefined when there is none, or the last code is too fresh.
 * Without a hash the code stays until the mail with the next one is sent.
 */
export async function renewActivation(
  tx: Transaction,
  identity: string,
  codeHash: Buffer | null,
): Promise<{ identity: string; email: string } | undefined> {
  const rows = await tx.rows<{ identity: string; email: string }>('select identity, email from triggerfs.renew_activation($1, $2)', [
    identity,
    codeHash,
  ]);
  return rows[0];
}

/** Ends an account; undefined: the password is wrong. @throws TriggerFsError TFS_CONFLICT for the last owner of a team with others, and for the last operator */
export async function deleteAccount(tx: Transaction, accountId: number, password: string): Promise<true | undefined> {
  const [row] = await tx.rows<{ outcome: string; teams: string }>('select outcome, teams from triggerfs.delete_account($1, $2)', [
    accountId,
    password,
  ]);
  switch (row?.outcome) {
    case 'deleted':
      return true;
    case 'last-owner':
      throw new TriggerFsError(
        'TFS_CONFLICT',
        `you are the only owner of ${row.teams}; make another member owner first, or delete the team`,
      );
    case 'last-operator':
      throw new TriggerFsError('TFS_CONFLICT', 'you are the only operator of this installation');
    default:
      return undefined;
  }
}

/** Opens an account; false for a wrong, used or ended code and for an unknown account. */
export async function activate(database: Database, identity: string, codeHash: Buffer): Promise<boolean> {
  const [row] = await database.rows<{ activated: boolean }>('select triggerfs.activate($1, $2) as activated', [identity, codeHash]);
  return row?.activated === true;
}
