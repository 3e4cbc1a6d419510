import { createTransport } from 'nodemailer';
import type { Section } from '../../runtime/config/sections.ts';
import type { Logger } from '../../runtime/logging.ts';

/** A mail to one person. */
export interface OutgoingMail {
  readonly to: string;
  readonly subject: string;
  readonly text: string;
}

/** Options of `Mailer`. */
export interface MailerOptions {
  /** `[mail]`; without a host nothing leaves this machine. */
  readonly section: Section<'mail'>;
  readonly log: Logger;
  /** Takes mails when there is no mail server, beside the log. */
  readonly unsent?: (mail: OutgoingMail) => void;
}

const SMTP_LIMIT_MS = 15_000;
const LOOPBACK = /^(localhost|127\.\d+\.\d+\.\d+|::1)$/;

/** Hands mails to the mail server, or to the log where there is none. What waits for a mail server is the postman's. */
export class Mailer {
  readonly #options: MailerOptions;
  readonly #transport: ReturnType<typeof createTransport> | null;

  constructor(options: MailerOptions) {
    this.#options = options;
    this.#transport = options.section.host === '' ? null : openTransport(options.section);
  }

  /** Whether there is a mail server; otherwise mails go to the log. */
  get hasServer(): boolean {
    return this.#transport !== null;
  }

  /** Sends a mail now. @throws Error of the mail server, in its words */
  async deliver(mail: OutgoingMail): Promise<void> {
    if (this.#transport === null) return this.print(mail);
    await this.#transport.sendMail({ from: this.#options.section.from, ...mail });
  }

  /** Shows a mail to whoever runs this machine. */
  print(mail: OutgoingMail): void {
    this.#options.log.info(`no mail server is configured; mail to ${mail.to}: ${mail.subject}\n${mail.text}`);
    this.#options.unsent?.(mail);
  }

  /** Closes connections to the mail server. */
  stop(): void {
    this.#transport?.close();
  }
}

function openTransport(section: Section<'mail'>): ReturnType<typeof createTransport> {
  const { host, port, user, password, secure } = section;
  return createTransport({
    host,
    port,
    secure,
    // A password never crosses a network in the clear.
    requireTLS: !secure && user !== '' && !LOOPBACK.test(host),
    ...(user === '' ? {} : { auth: { user, pass: password } }),
    connectionTimeout: SMTP_LIMIT_MS,
    greetingTimeout: SMTP_LIMIT_MS,
    socketTimeout: SMTP_LIMIT_MS,
    disableFileAccess: true,
    disableUrlAccess: true,
  });
}
