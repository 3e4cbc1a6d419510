import type { Database } from '../database.ts';

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
export async function signUp(database: Database, person: NewPerson): Promise<string | null> {
  const [row] = await database.rows<{ holder: string | null }>('select triggerfs.sign_up($1, $2, $3, $4, $5) as holder', [
    person.identity,
    person.email,
    person.password,
    person.cost,
    person.codeHash,
  ]);
  return row?.holder ?? null;
}

/** Gives a waiting account another code; undefined when there is none, or the last code is too fresh. */
export async function renewActivation(
  database: Database,
  identity: string,
  codeHash: Buffer,
): Promise<{ identity: string; email: string } | undefined> {
  const rows = await database.rows<{ identity: string; email: string }>('select identity, email from triggerfs.renew_activation($1, $2)', [
    identity,
    codeHash,
  ]);
  return rows[0];
}

/** Opens an account; false for a wrong, used or ended code and for an unknown account. */
export async function activate(database: Database, identity: string, codeHash: Buffer): Promise<boolean> {
  const [row] = await database.rows<{ activated: boolean }>('select triggerfs.activate($1, $2) as activated', [identity, codeHash]);
  return row?.activated === true;
}
