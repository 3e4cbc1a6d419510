import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Mailer } from '../../control-plane/people/mailer.ts';
import { parseConfig } from '../../runtime/config/index.ts';
import { silentLogger } from '../../runtime/logging.ts';
import { SmtpServer } from '../support/smtp-server.ts';

const MAIL = { to: 'someone@example.org', subject: 'Your code', text: 'The code is 7K2M-Q9XD\n' };

function mailerTo(port: number, settings = ''): Mailer {
  const { mail } = parseConfig(`[mail]\nhost = "127.0.0.1"\nport = ${port}\n${settings}`, null);
  return new Mailer({ section: mail, log: silentLogger() });
}

test('mails go to the SMTP server, with sender and login of the configuration', async (t) => {
  const smtp = await SmtpServer.start(t);
  const mailer = mailerTo(smtp.port, 'user = "me"\npassword = "pass"\nfrom = "Fleet <fleet@example.org>"\n');
  assert.ok(mailer.hasServer);
  await mailer.deliver(MAIL);
  mailer.stop();
  assert.equal(smtp.mails.length, 1);
  assert.match(smtp.mails[0] ?? '', /^From: Fleet <fleet@example\.org>$/m);
  assert.match(smtp.mails[0] ?? '', /^To: someone@example\.org$/m);
  assert.match(smtp.mails[0] ?? '', /The code is 7K2M-Q9XD/);
  assert.ok(smtp.commands.includes(`AUTH PLAIN ${Buffer.from('\0me\0pass').toString('base64')}`));
});

test('what the mail server says is the error', async (t) => {
  const smtp = await SmtpServer.start(t);
  smtp.mood = 'refuse';
  await assert.rejects(mailerTo(smtp.port).deliver(MAIL), /451 later/);
  await smtp.stop();
  await assert.rejects(mailerTo(9).deliver(MAIL), /ECONNREFUSED/);
});

test('without a mail server mails are handed to the program', async () => {
  const shown: unknown[] = [];
  const mailer = new Mailer({ section: parseConfig('', null).mail, log: silentLogger(), unsent: (mail) => void shown.push(mail) });
  assert.equal(mailer.hasServer, false);
  await mailer.deliver(MAIL);
  assert.deepEqual(shown, [MAIL]);
});
