import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import test, { before } from 'node:test';
import pg from 'pg';
import type { Command } from '../../../client/cli/command.ts';
import { commands } from '../../../client/cli/commands/index.ts';
import { RequestFailed } from '../../../client/cli/commands/request.ts';
import { Connection } from '../../../client/cli/connection.ts';
import { Console } from '../../../client/cli/console.ts';
import type { ConsoleScreen } from '../../../client/cli/screen/console-screen.ts';
import { Sink } from '../../../client/program/sink.ts';
import { TriggerFsError } from '../../../protocol/errors.ts';
import type { HistoryInvocation } from '../../../protocol/http/history.ts';
import type { QueueAccepted } from '../../../protocol/http/queue.ts';
import { callApi } from '../../../runtime/api.ts';
import { logIn } from '../../../runtime/credentials.ts';
import { environment } from '../../../runtime/environment.ts';
import { System } from '../../support/system.ts';
import { until } from '../../support/wait.ts';

const SECRET = 'a good password';
/** Strangers have signed up and are in no team; foreigners own a team of their own. */
const ROLES = ['owner', 'admin', 'member', 'viewer', 'stranger', 'foreigner'] as const;
type Role = (typeof ROLES)[number];
/** Values that exist in the team, or would be possible there. */
const SAMPLES: Readonly<Record<string, string>> = {
  worker: 'demo01',
  service: 'demo',
  trigger: '/demo/log',
  directory: '/demo',
  user: 'spare1',
  team: 'demo',
  plugin: 'command/command',
  text: 'text',
  argument: 'key=value',
  duration: '5s',
  reason: 'why',
  // Nothing of this name is there: 404 for those who may, 403 for the others.
  invite: 'nobody@example.com',
  token: 'nothing',
  invitation: '999999',
  maintenance: '999999',
  '10s': '5s',
  '2|25%': '2',
  'name/name': 'command/command',
  '0775': '0700',
  '0644': '0600',
  'read,write,invoke': 'read',
  schedule: 'kept',
  hook: 'kept',
  zone: 'UTC',
  time: '2h',
  type: 'text/html',
  entry: 'entry',
};

/** The console of one person. */
interface Seat {
  console: Console;
  readonly identity: string;
  readonly team: string;
  readonly secret: string;
}

/** People of one team, and those around it. */
type Cast = Readonly<Record<Role, Seat>>;

let system: System;
let cast: Cast;
const opened: Console[] = [];

before(async (t) => {
  const context = t as Parameters<typeof System.start>[0];
  system = await System.start(context, { mount: false });
  const { identity, secret } = system.config.main;
  await system.api('POST', '/v1/users', { identity: 'spare1', secret: SECRET, role: 'viewer' });
  const commands = [
    'set schedules name kept',
    'set schedules kept every 1d trigger /demo/log',
    'set services demo http hook kept scheme github',
  ];
  await system.api('POST', '/v1/configuration/commit', { commands });
  // Before the worker gets another token, which ends its sessions.
  await ran();
  cast = await makeCast('demo', { identity, secret });
  context.after(async () => {
    for (const console of opened) await console.connection.stop();
  });
});

/** Makes a person for each role of a team, and the two who are in none of its roles. */
async function makeCast(team: string, owner: { identity: string; secret: string }): Promise<Cast> {
  const { api } = system.ready;
  const { apiToken: token } = await logIn(api, { kind: 'user', team, ...owner });
  const suffix = team === 'demo' ? '1' : `-${team}`;
  for (const role of ROLES.slice(1)) {
    const rights = role === 'stranger' || role === 'foreigner' ? 'viewer' : role;
    await callApi(api, { method: 'POST', path: '/v1/users', token, body: { identity: `${role}${suffix}`, secret: SECRET, role: rights } });
  }
  await leave(`stranger${suffix}`, team, null);
  await leave(`foreigner${suffix}`, team, `elsewhere${suffix}`);
  const seat = async (role: Role): Promise<Seat> => {
    if (role === 'owner') return takeSeat({ ...owner, team });
    const home = role === 'stranger' ? '' : role === 'foreigner' ? `elsewhere${suffix}` : team;
    return takeSeat({ identity: `${role}${suffix}`, secret: SECRET, team: home });
  };
  const seats = await Promise.all(ROLES.map(async (role) => [role, await seat(role)] as const));
  return Object.fromEntries(seats) as unknown as Cast;
}

/** Takes a person out of a team, into one of their own where it is named. */
async function leave(identity: string, team: string, own: string | null): Promise<void> {
  const { api } = system.ready;
  const { apiToken: token } = await logIn(api, { kind: 'user', team, identity, secret: SECRET });
  // As if they had signed up: an account that was made in a team goes with it.
  await sql('update triggerfs.users set signed_up = true where identity = $1', [identity]);
  if (own !== null) await callApi(api, { method: 'POST', path: '/v1/teams', token, body: { name: own } });
  await callApi(api, { method: 'POST', path: '/v1/leave', token, body: { team } });
}

async function sql<T extends object>(text: string, values: readonly unknown[]): Promise<T[]> {
  const client = new pg.Client(system.ready.database);
  await client.connect();
  try {
    return (await client.query(text, [...values])).rows as T[];
  } finally {
    await client.end();
  }
}

async function takeSeat(person: Omit<Seat, 'console'>): Promise<Seat> {
  const main = { ...system.config.main, ...person };
  const client = { ...system.config['triggerfs-client'], cache: false };
  const connection = await Connection.open({ ...system.config, main, 'triggerfs-client': client }, environment());
  const console = new Console({ connection, screen: silent(person.secret), json: false });
  opened.push(console);
  return { console, ...person };
}

/** Nobody looks, and every question is answered. */
function silent(answer: string): ConsoleScreen {
  const nowhere = new Sink(new Writable({ write: (_chunk, _encoding, done) => done() }), () => undefined);
  return {
    interactive: false,
    colour: false,
    out: nowhere,
    err: nowhere,
    show: async () => undefined,
    ask: async () => answer,
    lend: (work) => work(),
  };
}

/** A use of a command; names of new things differ, so that nobody is in another's way. */
function sampleLine({ pattern, options }: Command, role: string, samples: Readonly<Record<string, string>>): string {
  const words = pattern.split(' ').map((part) => {
    const choice = /^<[a-z-]+:(\w+)[|>]/.exec(part)?.[1];
    if (choice !== undefined) return choice;
    const value = /^<([a-z-]+)>$/.exec(part)?.[1];
    if (value === undefined) return part.split('|')[0] as string;
    if (value === 'argument' && pattern.startsWith('delete')) return 'path';
    if (value !== 'name') return samples[value] ?? value;
    if (pattern.includes('directories') || pattern.includes('triggers'))
      return pattern.includes('triggers') ? `/demo/new-${role}` : `/new-${role}`;
    if (pattern.includes('invite identity')) return 'foreigner1';
    return pattern.includes('invite email') ? `${role}@example.com` : `new-${role}`;
  });
  const [name, option] = Object.entries(options ?? {})[0] ?? [];
  if (name === undefined || option === undefined || words[0] === 'request') return words.join(' ');
  return [
    ...words,
    name,
    option.choices?.[1] ?? (name === 'email' ? `${role}.new@example.com` : samples[option.value]) ?? option.value,
  ].join(' ');
}

/** What a command needs that is no change of the configuration. */
interface Scene {
  /** What is collected before. */
  readonly candidate?: (role: Role) => string[];
  /** The line, where it is not made of the pattern and samples. */
  readonly line?: (role: Role) => string | Promise<string>;
  /** Makes it undone for the next one. */
  readonly undo?: (seat: Seat) => Promise<unknown>;
  /** People of a team of its own, which it may spoil; the owner comes last. */
  readonly apart?: string;
}

/** Of the first column of the matrix. */
const WIDTH = 56;

/** Changes of the configuration that are only tried: nobody is in another's way. */
const TRIED = /^(set|delete|rename) (directories|workers|services|triggers|schedules)\b/;

const run = (seat: Seat, line: string): Promise<void> => seat.console.execute(line, new AbortController().signal);

/** Commands that change more than the configuration, or need more than a line. */
const SCENES: Readonly<Record<string, Scene>> = {
  show: { candidate: (role) => [`set workers identity shown-${role}`] },
  commit: { candidate: (role) => [`set directories path /committed-${role}`] },
  'commit check': { candidate: (role) => [`set workers identity checked-${role}`] },
  'commit confirmed <minutes>': {
    candidate: (role) => [`set directories path /confirmed-${role}`],
    line: () => 'commit confirmed 1',
    undo: (seat) => run(seat, 'commit'),
  },
  // The last commit of its author, or of an admin.
  'rollback <number>': { line: () => 'rollback 1' },
  'load <file>': { line: () => `load ${join(system.folder, 'load.conf')}` },
  'mail read <letter>': { line: async () => `mail read ${await letter()}` },
  'show history <invocation>': { line: async () => `show history ${await ran()}` },
  'monitor <invocation>': { line: async () => `monitor ${await ran()}` },
  'request replay <invocation>': { line: async () => `request replay ${await ran()}` },
  'show queue <queued>': { line: async () => `show queue ${await queued()}` },
  'request queue cancel <queued>': { line: async () => `request queue cancel ${await queued()}` },
  'request queue redrive <dead>': { line: async () => `request queue redrive ${await cancelled()}` },
  'request session end <session>': { line: async (role) => `request session end ${await ownSession(role)}` },
  'request team switch <team>': { undo: async (seat) => seat.console.connect(await seat.console.connection.inTeam(seat.team)) },
  'request password change': { apart: 'deleted' },
  'delete teams|team <team>': { apart: 'deleted', line: () => 'delete teams deleted' },
  'request team leave': { apart: 'left' },
  'request account delete': { apart: 'left' },
};

/** An invocation of the team's owner that waits for an hour. */
async function queued(): Promise<string> {
  const body = { service: 'demo', plugin: 'command/command', command: 'echo later', delay: '1h' };
  return (await system.api<QueueAccepted>('POST', '/v1/invocations', body)).id;
}

/** One that can be tried again. */
async function cancelled(): Promise<string> {
  const id = await queued();
  await system.api('DELETE', `/v1/invocations/${id}`);
  return id;
}

let invocation: Promise<string> | null = null;

/** One that has ended. */
function ran(): Promise<string> {
  const make = async (): Promise<string> => {
    const body = { service: 'demo', plugin: 'command/command', command: 'echo said' };
    const { id } = await system.api<QueueAccepted>('POST', '/v1/invocations', body);
    const seen = (): Promise<HistoryInvocation> => system.api<HistoryInvocation>('GET', `/v1/history/${id}`);
    await until(async () => (await seen()).outputKept && (await seen()).state === 'done', { timeoutMs: 20_000, what: 'the history' });
    return id;
  };
  invocation ??= make();
  return invocation;
}

/** A letter to the team demo. */
async function letter(): Promise<number> {
  const [sent] = await sql<{ id: number }>(
    `select triggerfs.send_mail(t.id, null, 'notice', 'subject', 'body') as id from triggerfs.teams t where t.name = 'demo'`,
    [],
  );
  return sent?.id ?? 0;
}

/** Another session of a person than the one of their console. */
async function ownSession(role: Role): Promise<string> {
  const { identity, secret, team } = cast[role];
  const body = { identity, secret, ...(team === '' ? {} : { team }) };
  const { apiToken } = await callApi<{ apiToken: string }>(system.ready.api, { method: 'POST', path: '/v1/login', body });
  const claims = JSON.parse(Buffer.from(apiToken.split('.')[1] ?? '', 'base64url').toString()) as { sid: string };
  return claims.sid;
}

const casts = new Map<string, Promise<Cast>>();

/** The people of a team that is there to be spoiled. */
function castApart(team: string): Promise<Cast> {
  const make = async (): Promise<Cast> => {
    const owner = { identity: `owner-${team}`, secret: SECRET };
    await system.api('POST', '/v1/users', { ...owner, role: 'viewer' });
    await leave(owner.identity, 'demo', team);
    return makeCast(team, owner);
  };
  const found = casts.get(team) ?? make();
  casts.set(team, found);
  return found;
}

/** `ok`, or the code of the error. Changes of the configuration are only tried, in a candidate. */
async function outcome(seat: Seat, command: Command, line: string, role: Role): Promise<string> {
  const scene = SCENES[command.pattern] ?? {};
  const { console } = seat;
  if (!command.modes.includes('run')) await console.enter('candidate');
  console.setCandidate(scene.candidate?.(role) ?? []);
  try {
    await run(seat, line);
    await scene.undo?.(seat);
    return 'ok';
  } catch (error) {
    if (error instanceof RequestFailed) return `exit code ${error.exitCode}`;
    return TriggerFsError.from(error).code.replace('TFS_', '').toLowerCase();
  } finally {
    console.setCandidate([]);
    await console.leave().catch(() => undefined);
    // What was left or ended is begun again, with the same login.
    if (console.closed) seat.console = new Console({ connection: console.connection, screen: silent(seat.secret), json: false });
  }
}

async function row(command: Command, samples: Readonly<Record<string, string>>, roles: readonly Role[]): Promise<string> {
  const scene = SCENES[command.pattern];
  const people = scene?.apart === undefined ? cast : await castApart(scene.apart);
  const cells = new Map<Role, string>();
  const fill = async (role: Role): Promise<void> => {
    const line = (await scene?.line?.(role)) ?? sampleLine(command, role, samples);
    cells.set(role, await outcome(people[role], command, line, role));
  };
  if (TRIED.test(command.pattern.replaceAll(/\|\w+/g, ''))) await Promise.all(roles.map(fill));
  else for (const role of scene?.apart === undefined ? roles : roles.toReversed()) await fill(role);
  const shown = roles.map((role) => (cells.get(role) ?? '').padEnd(15)).join(' ');
  const pattern = command.pattern.replaceAll(/<([a-z]+):[^>]+>/g, '<$1>').replaceAll(/\|\w+(?= |$)/g, '');
  return `${pattern.padEnd(WIDTH)} ${shown}`.trimEnd();
}

async function matrix(samples: Readonly<Record<string, string>>, roles: readonly Role[], wanted: RegExp): Promise<string[]> {
  const rows: string[] = [];
  for (const command of commands().filter(({ pattern }) => wanted.test(pattern))) rows.push(await row(command, samples, roles));
  return rows;
}

test('every command does for each role what the golden matrix says', { timeout: 240_000 }, async () => {
  writeFileSync(join(system.folder, 'load.conf'), 'set directories path /loaded\n');
  const head = `${''.padEnd(WIDTH)} ${ROLES.map((role) => role.padEnd(15)).join(' ')}`.trimEnd();
  const actual = [head, ...(await matrix(SAMPLES, ROLES, /./))];
  const golden = readFileSync(join(import.meta.dirname, 'golden', 'rights.txt'), 'utf8')
    .trimEnd()
    .split('\n');
  assert.deepEqual(actual, golden);
});

test('what another team has is answered like what does not exist', { timeout: 60_000 }, async () => {
  const absent = {
    ...SAMPLES,
    worker: 'absent01',
    service: 'absent',
    trigger: '/absent/none',
    directory: '/absent',
    user: 'absent1',
    team: 'absent',
    schedule: 'absent',
    hook: 'absent',
  };
  const naming = /^(?!delete teams\|team <team>$).*<(worker|service|trigger|directory|user|team|schedule|hook)>/;
  assert.deepEqual(await matrix(SAMPLES, ['foreigner'], naming), await matrix(absent, ['foreigner'], naming));
});

test('invocations of other teams are answered like those that do not exist', async () => {
  const absent = '01a2000f-25ce-7000-8000-0e6efe27b27d';
  const refused = (seat: Seat, line: string): Promise<unknown> =>
    run(seat, line).then(
      () => 'done',
      (error: unknown) => TriggerFsError.from(error).message.replaceAll(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, 'ID'),
    );
  for (const words of ['show history', 'monitor', 'request replay', 'show queue', 'request queue cancel', 'request queue redrive']) {
    for (const id of [await ran(), await queued()]) {
      const said = await refused(cast.foreigner, `${words} ${id}`);
      assert.match(String(said), /ID/, words);
      assert.equal(said, await refused(cast.foreigner, `${words} ${absent}`), words);
    }
  }
});

test('letters and sessions of others are answered like those that do not exist', async () => {
  const refused = (line: string): Promise<unknown> =>
    run(cast.foreigner, line).then(
      () => 'done',
      (error: unknown) => TriggerFsError.from(error).message.replaceAll(/[0-9a-f-]{36}|\d+/g, 'ID'),
    );
  assert.match(String(await refused(`mail read ${await letter()}`)), /^there is no letter ID$/);
  assert.equal(await refused(`mail read ${await letter()}`), await refused('mail read 999999'));
  const ended = `request session end ${await ownSession('owner')}`;
  assert.match(String(await refused(ended)), /^you have no session ID$/);
  assert.equal(await refused(ended), await refused(`request session end ${randomUUID()}`));
});

test('who is in no team of that name cannot log in there, whether it exists or not', async () => {
  const { api } = system.ready;
  const refusal = (team: string): Promise<unknown> =>
    logIn(api, { kind: 'user', team, identity: 'foreigner1', secret: SECRET }).then(
      () => 'logged in',
      ({ code, message }: TriggerFsError) => ({ code, message }),
    );
  const refused = await refusal('demo');
  assert.deepEqual(refused, { code: 'TFS_BAD_CREDENTIALS', message: 'team, identity or secret is wrong' });
  assert.deepEqual(refused, await refusal('absent'));
});
