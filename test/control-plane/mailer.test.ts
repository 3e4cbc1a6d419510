import assert from 'node:assert/strict';
import { type AddressInfo, createServer, type Socket } from 'node:net';
import { type TestContext, test } from 'node:test';
import { Mailer } from '../../control-plane/people/mailer.ts';
import { parseConfig } from '../../runtime/config/index.ts';
import { silentLogger } from '../../runtime/logging.ts';
import { until } from '../support/wait.ts';

const MAIL = { to: 'someone@example.org', subject: 'Your code', text: 'The code is 7K2M-Q9XD\n' };

/** As much of SMTP as a mail needs. */
class SmtpServer {
  readonly mails: string[] = [];
  readonly commands: string[] = [];
  readonly #server = createServer((socket) => this.#serve(socket));
  #refusals: number;

  /** `refusals`: how many first mails are turned away. */
  constructor(refusals: number) {
    this.#refusals = refusals;
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port;
  }

  async start(t: TestContext): Promise<this> {
    await new Promise<void>((resolve) => this.#server.listen(0, '127.0.0.1', resolve));
    t.after(() => this.#server.close());
    return this;
  }

  #serve(socket: Socket): void {
    let input = '';
    let mail: string[] | null = null;
    socket.on('error', () => undefined);
    socket.write('220 test ready\r\n');
    socket.setEncoding('utf8').on('data', (chunk: string) => {
      const lines = (input + chunk).split('\r\n');
      input = lines.pop() ?? '';
      for (const line of lines) {
        if (mail === null) {
          socket.write(`${this.#answer(line)}\r\n`);
          if (line === 'DATA') mail = [];
        } else if (line === '.') {
          this.mails.push(mail.join('\n'));
          mail = null;
          socket.write('250 taken\r\n');
        } else mail.push(line);
      }
    });
  }

  #answer(command: string): string {
    this.commands.push(command);
    if (command.startsWith('EHLO')) return '250-test\r\n250 AUTH PLAIN';
    if (command.startsWith('AUTH')) return '235 welcome';
    if (command === 'DATA') return '354 go on';
    if (command.startsWith('MAIL') && this.#refusals > 0) {
      this.#refusals -= 1;
      return '451 later';
    }
    return '250 ok';
  }
}

function smtpServer(t: TestContext, refusals = 0): Promise<SmtpServer> {
  return new SmtpServer(refusals).start(t);
}

function mailerTo(port: number, settings = '', retryMs: readonly number[] = [5, 5]): Mailer {
  const { mail } = parseConfig(`[mail]\nhost = "127.0.0.1"\nport = ${port}\n${settings}`, null);
  return new Mailer({ section: mail, log: silentLogger(), retryMs });
}

test('mails go to the SMTP server, with sender and login of the configuration', async (t) => {
  const smtp = await smtpServer(t);
  const mailer = mailerTo(smtp.port, 'user = "me"\npassword = "pass"\nfrom = "Fleet <fleet@example.org>"\n');
  assert.ok(mailer.hasServer);
  mailer.send(MAIL);
  await until(() => smtp.mails.length === 1, { what: 'the mail' });
  await mailer.stop();
  assert.match(smtp.mails[0] ?? '', /^From: Fleet <fleet@example\.org>$/m);
  assert.match(smtp.mails[0] ?? '', /^To: someone@example\.org$/m);
  assert.match(smtp.mails[0] ?? '', /The code is 7K2M-Q9XD/);
  assert.ok(smtp.commands.includes(`AUTH PLAIN ${Buffer.from('\0me\0pass').toString('base64')}`));
});

test('a mail that is refused is tried again', async (t) => {
  const smtp = await smtpServer(t, 2);
  const mailer = mailerTo(smtp.port);
  mailer.send(MAIL);
  await until(() => smtp.mails.length === 1, { what: 'the mail' });
  await mailer.stop();
  assert.equal(smtp.commands.filter((command) => command.startsWith('MAIL')).length, 3);
});

test('a mail server that is gone hurts nobody', async (t) => {
  const smtp = await smtpServer(t, 1_000_000);
  const mailer = mailerTo(smtp.port, '', [60_000]);
  mailer.send(MAIL);
  await until(() => smtp.commands.some((command) => command.startsWith('MAIL')), { what: 'the first try' });
  await mailer.stop();
  assert.deepEqual(smtp.mails, []);
});

test('without a mail server mails are handed to the program', () => {
  const shown: unknown[] = [];
  const mailer = new Mailer({ section: parseConfig('', null).mail, log: silentLogger(), unsent: (mail) => void shown.push(mail) });
  assert.equal(mailer.hasServer, false);
  mailer.send(MAIL);
  assert.deepEqual(shown, [MAIL]);
});
