import { setTimeout as sleep } from 'node:timers/promises';
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
  /** Pauses before a mail is tried again, in milliseconds. Default 2 s, 15 s and 60 s. */
  readonly retryMs?: readonly number[];
}

const RETRY_MS = [2_000, 15_000, 60_000];
const SMTP_LIMIT_MS = 15_000;
const MAX_WAITING = 1_000;
const LOOPBACK = /^(localhost|127\.\d+\.\d+\.\d+|::1)$/;

/**
 * Sends mails over SMTP in the background, so that no answer waits for a mail server and none tells by its time whether
 * a mail was sent. A failing mail is tried again three times; `stop` gives up what waits.
 */
export class Mailer {
  readonly #options: MailerOptions;
  readonly #transport: ReturnType<typeof createTransport> | null;
  readonly #ending = new AbortController();
  readonly #sending = new Set<Promise<void>>();

  constructor(options: MailerOptions) {
    this.#options = options;
    this.#transport = options.section.host === '' ? null : openTransport(options.section);
  }

  /** Whether there is a mail server; otherwise mails go to the log. */
  get hasServer(): boolean {
    return this.#transport !== null;
  }

  /** Begins to send a mail. Never throws. */
  send(mail: OutgoingMail): void {
    if (this.#transport === null) {
      this.#options.log.info(`no mail server is configured; mail to ${mail.to}: ${mail.subject}\n${mail.text}`);
      this.#options.unsent?.(mail);
      return;
    }
    if (this.#sending.size >= MAX_WAITING) {
      this.#options.log.error(`too many mails wait, dropped "${mail.subject}" to ${mail.to}`);
      return;
    }
    const sending = this.#deliver(mail).finally(() => this.#sending.delete(sending));
    this.#sending.add(sending);
  }

  /** Lets running deliveries end, at most two seconds. */
  async stop(): Promise<void> {
    this.#ending.abort();
    await Promise.race([Promise.all(this.#sending), sleep(2_000, undefined, { ref: false })]);
    this.#transport?.close();
  }

  async #deliver(mail: OutgoingMail): Promise<void> {
    const { log, section, retryMs = RETRY_MS } = this.#options;
    for (const pause of [...retryMs, null]) {
      try {
        await this.#transport?.sendMail({ from: section.from, ...mail });
        return;
      } catch (err) {
        if (pause === null || this.#ending.signal.aborted) {
          log.error({ err }, `cannot send "${mail.subject}" to ${mail.to}`);
          return;
        }
        log.warn({ err }, `cannot send "${mail.subject}" to ${mail.to}, trying again in ${pause} ms`);
        await sleep(pause, undefined, { signal: this.#ending.signal, ref: false }).catch(() => undefined);
      }
    }
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
