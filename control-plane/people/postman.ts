import { setTimeout as sleep } from 'node:timers/promises';
import type { Task } from 'graphile-worker';
import type { Logger } from '../../runtime/logging.ts';
import type { Database } from '../database.ts';
import { createCode, hashCode } from './activation-code.ts';
import { activationMail, inviteMail, knownAddressMail } from './letters.ts';
import type { Mailer, OutgoingMail } from './mailer.ts';

/** Rows of `take_mail`. */
interface Taken {
  readonly kind: 'activation' | 'known-address' | 'invite';
  readonly recipient: string;
  readonly identity: string;
  readonly team: string;
  readonly role: string;
  readonly invited_by: string;
  readonly has_account: boolean;
}

/** A mail server that hangs holds each for up to a minute. */
const MAX_SENDING = 20;
const STOP_MS = 2_000;

/**
 * Sends what `triggerfs.outgoing_mails` holds. A mail is taken in the database, which has it taken again a minute later should this
 * process not be heard of, sent beside the clock's other tasks, and settled: gone, or waiting for its next try.
 */
export class Postman {
  readonly #database: Database;
  readonly #mailer: Mailer;
  readonly #log: Logger;
  readonly #sending = new Set<Promise<void>>();

  /** The database is used as `triggerfs_jobs`. */
  constructor(database: Database, mailer: Mailer, log: Logger) {
    this.#database = database;
    this.#mailer = mailer;
    this.#log = log;
  }

  /** The task `send_mail`. It ends when the mail is taken; while many are being sent it fails, and comes again. */
  readonly task: Task = async (payload) => {
    const { id } = payload as { id: number };
    if (this.#sending.size >= MAX_SENDING) throw new Error(`${MAX_SENDING} mails are being sent, mail ${id} has to wait`);
    const code = createCode();
    const [mail] = await this.#database.rows<Taken>('select * from triggerfs.take_mail($1, $2)', [id, hashCode(code)]);
    if (mail === undefined) return;
    const sending = this.#send(id, mail, code).finally(() => this.#sending.delete(sending));
    this.#sending.add(sending);
  };

  /** Lets mails that are being sent go, at most two seconds; the others are sent by the next control-plane. */
  async stop(): Promise<void> {
    await Promise.race([Promise.all(this.#sending), sleep(STOP_MS, undefined, { ref: false })]);
  }

  async #send(id: number, mail: Taken, code: string): Promise<void> {
    let problem: string | null = null;
    try {
      await this.#mailer.deliver(textOf(mail, code));
    } catch (err) {
      problem = (err as Error).message;
    }
    try {
      const [row] = await this.#database.rows<{ state: string }>('select triggerfs.settle_mail($1, $2) as state', [id, problem]);
      if (problem === null) return;
      if (row?.state === 'dead') this.#log.error(`mail ${id} (${mail.kind}) is given up: ${problem}`);
      else this.#log.warn(`mail ${id} (${mail.kind}) was not sent and waits for another try: ${problem}`);
    } catch (err) {
      this.#log.warn({ err }, `mail ${id} may be sent once more: its outcome could not be written down`);
    }
  }
}

function textOf(mail: Taken, code: string): OutgoingMail {
  const { recipient, identity, team, role, invited_by: invitedBy, has_account: hasAccount } = mail;
  if (mail.kind === 'activation') return activationMail(recipient, identity, code);
  if (mail.kind === 'known-address') return knownAddressMail(recipient, identity);
  return inviteMail(recipient, { team, role, invitedBy, hasAccount });
}
