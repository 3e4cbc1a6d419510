import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { type TestContext, test } from 'node:test';
import pg from 'pg';
import { callApi } from '../../runtime/api.ts';
import { childEnvironment } from '../../runtime/environment.ts';
import { packageRoot } from '../../runtime/package-root.ts';
import { lastFirst } from '../support/last-first.ts';
import { createDatabase } from '../support/postgres.ts';
import { SmtpServer } from '../support/smtp-server.ts';
import { until } from '../support/wait.ts';

const BIN = join(packageRoot(), 'control-plane', 'bin.ts');
const PASSWORD = 'a good password';

interface Mail {
  readonly id: number;
  readonly state: string;
  readonly tries: number;
  readonly error: string;
}

/** A control-plane as a process of its own, which sends its mails to a port. */
class Place {
  readonly sql: pg.Client;
  readonly smtpPort: number;
  readonly #t: Pick<TestContext, 'after'>;
  readonly #url: string;
  readonly #config: string;
  #api = '';
  #kill: (() => Promise<unknown>) | null = null;

  private constructor(t: Pick<TestContext, 'after'>, url: string, sql: pg.Client, smtpPort: number) {
    this.#t = t;
    this.#url = url;
    this.sql = sql;
    this.smtpPort = smtpPort;
    const folder = mkdtempSync(join(tmpdir(), 'triggerfs-mail-'));
    t.after(() => rmSync(folder, { recursive: true, force: true }));
    this.#config = join(folder, 'triggerfs.toml');
    writeFileSync(this.#config, `[mail]\nhost = "127.0.0.1"\nport = ${smtpPort}\n`);
  }

  static async create(t: Pick<TestContext, 'after'>): Promise<Place> {
    const url = await createDatabase(t);
    const sql = new pg.Client({ connectionString: url });
    await sql.connect();
    t.after(() => sql.end());
    const free = await SmtpServer.start(t);
    const { port } = free;
    await free.stop();
    const place = new Place(t, url, sql, port);
    await place.start();
    return place;
  }

  async start(): Promise<void> {
    const child = spawn(process.execPath, [BIN, '-config', this.#config, '-json', '-port', '0'], {
      env: childEnvironment({ DATABASE_URL: this.#url }),
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    const exited = once(child, 'exit');
    this.#kill = async () => {
      if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
      await exited;
    };
    this.#t.after(() => this.kill());
    for await (const line of createInterface(child.stdout)) {
      this.#api = (JSON.parse(line) as { url: string }).url;
      break;
    }
    child.stdout.resume();
  }

  async kill(): Promise<void> {
    await this.#kill?.();
    this.#kill = null;
  }

  call<T>(method: 'POST', path: string, body: unknown, token?: string): Promise<T> {
    return callApi<T>(this.#api, { method, path, body, ...(token === undefined ? {} : { token }) });
  }

  async signUp(identity: string): Promise<void> {
    const answer = await this.call<{ activation: string }>('POST', '/v1/signup', {
      identity,
      email: `${identity}@example.org`,
      password: PASSWORD,
    });
    assert.equal(answer.activation, 'mail');
  }

  async mails(): Promise<Mail[]> {
    return (await this.sql.query<Mail>('select id, state, tries, error from triggerfs.outgoing_mails order by id')).rows;
  }

  /** The time of a mail has come. */
  async hurry(): Promise<void> {
    await this.sql.query(`update triggerfs.outgoing_mails set next_at = now() where state = 'waiting'`);
    await this.sql.query(`select triggerfs.wake_mail(id, now()) from triggerfs.outgoing_mails where state = 'waiting'`);
  }
}

function codeIn(mail: string | undefined): string {
  return /activation code is (\S+)/.exec(mail ?? '')?.[1] ?? 'none';
}

test('mails outlive the mail server and the control-plane, and arrive once', async (context) => {
  const t = lastFirst(context);
  const place = await Place.create(t);
  await place.signUp('alice');
  const [waiting] = await until(
    async () => ((await place.mails())[0]?.tries === 1 && (await place.mails())[0]?.error !== '' ? place.mails() : null),
    {
      what: 'the first try',
    },
  );
  assert.match(waiting?.error ?? '', /ECONNREFUSED/);
  await place.kill();
  const smtp = await SmtpServer.start(t, place.smtpPort);
  await place.start();
  // The back-off has not been touched: it is the second try, five seconds after the first.
  await until(() => smtp.mails.length > 0, { timeoutMs: 30_000, what: 'the mail' });
  await until(async () => (await place.mails()).length === 0, { what: 'the mail is settled' });
  const { rows: jobs } = await place.sql.query(`select from graphile_worker.jobs where task_identifier = 'send_mail'`);
  assert.deepEqual([smtp.mails.length, jobs.length], [1, 0]);
  assert.match(smtp.mails[0] ?? '', /^To: alice@example\.org$/m);
  await place.call('POST', '/v1/activate', { identity: 'alice', code: codeIn(smtp.mails[0]) });
});

test('a mail that was being sent when the control-plane was killed is sent by the next one, with a code that is good', async (context) => {
  const t = lastFirst(context);
  const place = await Place.create(t);
  const smtp = await SmtpServer.start(t, place.smtpPort);
  smtp.mood = 'hang';
  await place.signUp('bob');
  await until(() => smtp.commands.includes('DATA'), { what: 'the mail is being sent' });
  await place.kill();
  const columns = await place.sql.query(`select o::text from triggerfs.outgoing_mails o`);
  assert.doesNotMatch(JSON.stringify(columns.rows), /[2-9A-Z]{4}-[2-9A-Z]{4}/, 'no code in the table');
  smtp.mood = 'take';
  await place.start();
  await place.hurry();
  await until(() => smtp.mails.length > 0, { what: 'the mail' });
  await place.call('POST', '/v1/activate', { identity: 'bob', code: codeIn(smtp.mails[0]) });
  await until(async () => (await place.mails()).length === 0, { what: 'the mail is settled' });
  assert.equal(smtp.mails.length, 1);
});

test('what cannot be sent is given up after twelve tries, and who has to know finds a letter', async (context) => {
  const t = lastFirst(context);
  const place = await Place.create(t);
  const smtp = await SmtpServer.start(t, place.smtpPort);
  for (const identity of ['hp1', 'ops']) await place.signUp(identity);
  await until(() => smtp.mails.length === 2, { what: 'both codes' });
  for (const mail of smtp.mails) {
    await place.call('POST', '/v1/activate', { identity: /To: (\w+)@/.exec(mail)?.[1], code: codeIn(mail) });
  }
  await place.sql.query(`update triggerfs.users set operator = true where identity = 'ops'`);
  const account = await place.call<{ apiToken: string }>('POST', '/v1/login', { identity: 'hp1', secret: PASSWORD });
  await place.call('POST', '/v1/teams', { name: 'team1' }, account.apiToken);
  const { apiToken } = await place.call<{ apiToken: string }>('POST', '/v1/switch', { team: 'team1' }, account.apiToken);
  smtp.mood = 'refuse';
  await place.call('POST', '/v1/invites', { email: 'guest@example.org' }, apiToken);
  await until(async () => (await place.mails())[0]?.error !== '', { what: 'the first refusal' });
  await place.sql.query('update triggerfs.outgoing_mails set tries = 11');
  await place.hurry();
  await until(async () => (await place.mails())[0]?.state === 'dead', { what: 'the mail is given up' });
  const { rows: letters } = await place.sql.query(
    `select u.identity, l.kind, l.body from triggerfs.mails l join triggerfs.users u on u.id = l.user_id order by 1`,
  );
  const body = /^After 12 tries the invitation 1 was given up: .*451 later/;
  assert.deepEqual(
    letters.map((row) => [row.identity, row.kind, body.test(row.body)]),
    [
      ['hp1', 'mail', true],
      ['ops', 'mail', true],
    ],
  );
  // Inviting somebody else works as soon as the mail server does.
  smtp.mood = 'take';
  await place.call('POST', '/v1/invites', { email: 'second@example.org' }, apiToken);
  await until(() => smtp.mails.length === 3, { what: 'the invitation' });
  assert.match(smtp.mails[2] ?? '', /hp1 invites you to the team team1 as member/);
});
