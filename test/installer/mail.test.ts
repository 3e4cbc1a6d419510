import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import pg from 'pg';
import { startControlPlane } from '../../control-plane/server.ts';
import { parseConfig } from '../../runtime/config/index.ts';
import { environment } from '../../runtime/environment.ts';
import { silentLogger } from '../../runtime/logging.ts';
import { NO_TERMINAL, Terminal } from '../client/cli/terminal.ts';
import { COST } from '../control-plane/fixture.ts';
import { lastFirst } from '../support/last-first.ts';
import { masterKeySection } from '../support/master-key.ts';
import { createDatabase } from '../support/postgres.ts';
import { serverFolder } from '../support/server.ts';
import { SmtpServer } from '../support/smtp-server.ts';
import { until } from '../support/wait.ts';
import { Machine, SCRIPT, SECRET } from './installer.ts';

/** Debian's aiosmtpd on a port, which puts mails into a maildir. */
async function mailServer(t: Pick<TestContext, 'after'>, maildir: string): Promise<number> {
  const free = await SmtpServer.start(t);
  const { port } = free;
  await free.stop();
  const child = spawn('/usr/bin/python3', ['-m', 'aiosmtpd', '-n', '-c', 'aiosmtpd.handlers.Mailbox', maildir, '-l', `127.0.0.1:${port}`], {
    stdio: 'ignore',
  });
  t.after(async () => {
    child.kill('SIGTERM');
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  });
  await until(
    () =>
      new Promise<boolean>((resolve) => {
        const socket = connect(port, '127.0.0.1', () => resolve(socket.end() !== undefined));
        socket.on('error', () => resolve(false));
      }),
    { what: 'the mail server listens' },
  );
  return port;
}

test('activation by mail, through a mail server of Debian into a mailbox, and once more with r', { timeout: 90_000 }, async (context) => {
  const skip =
    NO_TERMINAL || (spawnSync('/usr/bin/python3', ['-c', 'import aiosmtpd']).status !== 0 && 'install python3-aiosmtpd (Debian)');
  if (skip !== false) {
    assert.ok(!environment().ci, `CI must not skip this: ${skip}`);
    return context.skip(skip);
  }
  const t = lastFirst(context);
  const folder = serverFolder(t);
  const maildir = join(folder, 'maildir');
  const port = await mailServer(t, maildir);
  const databaseUrl = await createDatabase(t);
  const controlPlane = await startControlPlane({
    config: parseConfig(
      `${masterKeySection()}\n[mail]\nhost = "127.0.0.1"\nport = ${port}\nfrom = "triggerFS <fleet@example.org>"\n`,
      null,
    ),
    databaseUrl,
    log: silentLogger(),
    port: 0,
    passwordCost: COST,
  });
  t.after(() => controlPlane.stop());
  const sql = new pg.Client({ connectionString: databaseUrl });
  await sql.connect();
  t.after(() => sql.end());

  /** Mails in the mailbox, oldest first. */
  const mails = (): string[] => {
    const place = join(maildir, 'new');
    const files = readdirSync(place).map((name) => readFileSync(join(place, name), 'utf8'));
    return files.sort((a, b) => Date.parse(/^Date: (.*)$/m.exec(a)?.[1] ?? '') - Date.parse(/^Date: (.*)$/m.exec(b)?.[1] ?? ''));
  };
  const codes = (): string[] => mails().map((mail) => /activation code is (\S+)/.exec(mail)?.[1] ?? 'none');

  const here = new Machine(folder, 'home');
  const terminal = new Terminal(t, ['bash', SCRIPT, '--plain', '--api', controlPlane.url], { env: here.environment(), cwd: here.home });
  await terminal.see(/Choice:\s*$/);
  await terminal.run('1', /Identity:$/);
  await terminal.run('hp1', /E-mail:$/);
  await terminal.run('hp@example.com', /New password \(8 to 72 bytes\):$/);
  await terminal.run(SECRET, /Once more:$/);
  await terminal.run(SECRET, /Activation code .*:$/);
  await terminal.see(/The activation code was sent to hp@example\.com\./);
  await until(() => mails().length === 1, { timeoutMs: 20_000, what: 'the mail' });
  const [mail = ''] = mails();
  assert.match(mail, /^From: triggerFS <fleet@example\.org>$/m);
  assert.match(mail, /^To: hp@example\.com$/m);
  const [first = ''] = codes();

  // Within a minute there is no other one.
  await terminal.run('r', /Activation code .*:$/);
  await terminal.see(/Another code is sent, at most once a minute and three times\. The activation code was sent to your address\./);
  await sql.query(`update triggerfs.activations set sent_at = now() - interval '2 minutes'`);
  await terminal.run('r', /Activation code .*:$/);
  await until(() => mails().length > 1, { timeoutMs: 20_000, what: 'the second mail' });
  assert.equal(mails().length, 2);
  const second = codes().find((code) => code !== first) ?? '';
  await terminal.run(first, /Activation code .*:$/);
  await terminal.run(second, /Create a team now\? \[Y\/n\]:$/);
  await terminal.see(/Activate: the account hp1 is active\./);
  await terminal.run('n', /Choice:$/);
  terminal.type('7');
  terminal.press('Enter');
  await until(() => terminal.ended, { what: 'the installer ends' });
  assert.equal(terminal.exitCode, 0);
});
