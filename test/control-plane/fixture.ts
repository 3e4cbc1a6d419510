import { after, type TestContext } from 'node:test';
import pg from 'pg';
import type { OutgoingMail } from '../../control-plane/people/mailer.ts';
import { type ControlPlane, startControlPlane } from '../../control-plane/server.ts';
import type { Problem } from '../../protocol/http/problem.ts';
import type { SessionResponse } from '../../protocol/http/session.ts';
import { parseConfig } from '../../runtime/config/index.ts';
import { silentLogger } from '../../runtime/logging.ts';
import { runAll } from '../support/last-first.ts';
import { masterKeySection } from '../support/master-key.ts';
import { createDatabase } from '../support/postgres.ts';

/** Lowest bcrypt cost, so that tests are quick. */
export const COST = 4;
export const SECRET = 'correct horse';

/** An answer of the API. */
export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  // Tests look into answers of all shapes; a wrong one fails the assertion that reads it.
  readonly body: Problem & Record<string, never> & { [key: string]: unknown };
}

/** A request as tests write it. */
export interface Call {
  readonly token?: string | undefined;
  readonly body?: unknown;
  readonly headers?: Record<string, string>;
  /** Sent as it is instead of `body`. */
  readonly raw?: string;
}

/** A control-plane with its own database. */
export class Fixture {
  readonly controlPlane: ControlPlane;
  readonly databaseUrl: string;
  /** Mails that a mail server would have got, oldest first. */
  readonly mails: OutgoingMail[] = [];

  constructor(controlPlane: ControlPlane, databaseUrl: string) {
    this.controlPlane = controlPlane;
    this.databaseUrl = databaseUrl;
  }

  /** Sends a request such as `GET /v1/whoami`. */
  async call(route: string, call: Call = {}): Promise<Answer> {
    const [method = '', path = ''] = route.split(' ');
    const headers: Record<string, string> = { ...call.headers };
    if (call.token !== undefined) headers.authorization = `Bearer ${call.token}`;
    if (call.body !== undefined) headers['content-type'] = 'application/json';
    const body = call.raw ?? (call.body === undefined ? null : JSON.stringify(call.body));
    const response = await fetch(new URL(path, this.controlPlane.url), { method, headers, body });
    const text = await response.text();
    const isJson = response.headers.get('content-type')?.includes('json') === true;
    return { status: response.status, headers: response.headers, body: isJson ? JSON.parse(text) : { text } };
  }

  /** Runs SQL as the owner of the database. */
  async sql<T extends pg.QueryResultRow>(sql: string, values: readonly unknown[] = []): Promise<T[]> {
    const client = new pg.Client({ connectionString: this.databaseUrl });
    await client.connect();
    try {
      return (await client.query<T>(sql, [...values])).rows;
    } finally {
      await client.end();
    }
  }

  /** Makes a team with one user per role: `owner-TEAM`, `admin-TEAM`, ... */
  async team(name: string): Promise<void> {
    await this.sql('insert into triggerfs.teams (name) values ($1)', [name]);
    await this.sql(
      `with made as (
         insert into triggerfs.users (identity, secret_hash)
         select role || '-' || $1, crypt($2, gen_salt('bf', ${COST})) from unnest(array['owner', 'admin', 'member', 'viewer']) role
         returning id, identity)
       insert into triggerfs.memberships (team_id, user_id, role)
       select t.id, made.id, split_part(made.identity, '-', 1) from made, triggerfs.teams t where t.name = $1`,
      [name, SECRET],
    );
  }

  /** Logs in as a user made by `team`. */
  async logIn(role: string, team = 'a', secret = SECRET): Promise<SessionResponse> {
    const answer = await this.call('POST /v1/login', { body: { team, identity: `${role}-${team}`, secret } });
    if (answer.status !== 200) throw new Error(`cannot log in as ${role}-${team}: ${answer.body.detail}`);
    return answer.body as unknown as SessionResponse;
  }

  /** API token of a fresh session. */
  async tokenOf(role: string, team = 'a'): Promise<string> {
    return (await this.logIn(role, team)).apiToken;
  }
}

/** Starts a control-plane on a fresh database with the teams `a` and `b`. */
export async function startFixture(t: Pick<TestContext, 'after'>, options: { requestsPerSecond?: number } = {}): Promise<Fixture> {
  const databaseUrl = await createDatabase(t);
  let fixture: Fixture | null = null;
  const controlPlane = await startControlPlane({
    unsent: (mail) => void fixture?.mails.push(mail),
    config: parseConfig(masterKeySection(), null),
    databaseUrl,
    log: silentLogger(),
    port: 0,
    passwordCost: COST,
    requestsPerSecond: options.requestsPerSecond ?? 1000,
  });
  t.after(() => controlPlane.stop());
  fixture = new Fixture(controlPlane, databaseUrl);
  await fixture.team('a');
  await fixture.team('b');
  return fixture;
}

/** Lets fixtures that `before` makes live as long as the suite that this is called in. */
export function suiteCleanup(): Pick<TestContext, 'after'> {
  const steps: (() => unknown)[] = [];
  after(() => runAll(steps));
  return { after: (step) => void steps.push(step as () => unknown) };
}
