import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import test, { before } from 'node:test';
import type { Command } from '../../../client/cli/command.ts';
import { commands } from '../../../client/cli/commands/index.ts';
import { RequestFailed } from '../../../client/cli/commands/request.ts';
import { Connection } from '../../../client/cli/connection.ts';
import { Console } from '../../../client/cli/console.ts';
import type { ConsoleScreen } from '../../../client/cli/screen/console-screen.ts';
import { Sink } from '../../../client/program/sink.ts';
import { TriggerFsError } from '../../../protocol/errors.ts';
import { callApi } from '../../../runtime/api.ts';
import { logIn } from '../../../runtime/credentials.ts';
import { environment } from '../../../runtime/environment.ts';
import { System } from '../../support/system.ts';

const SECRET = 'a good password';
const ROLES = ['owner', 'admin', 'member', 'viewer', 'foreigner'] as const;
/** They change the session or need a terminal, not rights in the team. */
const LEFT_OUT =
  /^(exit|quit|help|echo|configure|file|load|mail read|request (account|team|password|session)|commit$|commit confirmed|rollback|show$|delete teams\|team <team>$)/;
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
};

let system: System;
const consoles = new Map<string, { console: Console; stop: () => Promise<void> }>();

before(async (t) => {
  const context = t as Parameters<typeof System.start>[0];
  system = await System.start(context, { mount: false });
  for (const role of ['admin', 'member', 'viewer', 'spare'])
    await system.api('POST', '/v1/users', { identity: `${role}1`, secret: SECRET, role: role === 'spare' ? 'viewer' : role });
  await makeForeigner();
  for (const role of ROLES) consoles.set(role, await open(role));
  context.after(async () => {
    for (const { stop } of consoles.values()) await stop();
  });
});

/** Somebody who owns a team of their own and is in no other one. */
async function makeForeigner(): Promise<void> {
  const { api } = system.ready;
  await system.api('POST', '/v1/users', { identity: 'foreigner1', secret: SECRET, role: 'viewer' });
  const { apiToken } = await logIn(api, { kind: 'user', team: 'demo', identity: 'foreigner1', secret: SECRET });
  await callApi(api, { method: 'POST', path: '/v1/teams', token: apiToken, body: { name: 'elsewhere' } });
  await system.api('DELETE', '/v1/users/foreigner1');
}

async function open(role: (typeof ROLES)[number]): Promise<{ console: Console; stop: () => Promise<void> }> {
  const identity = role === 'owner' ? 'demo' : `${role}1`;
  const secret = role === 'owner' ? system.config.main.secret : SECRET;
  const team = role === 'foreigner' ? 'elsewhere' : 'demo';
  const main = { ...system.config.main, team, identity, secret };
  const client = { ...system.config['triggerfs-client'], cache: false };
  const connection = await Connection.open({ ...system.config, main, 'triggerfs-client': client }, environment());
  const console = new Console({ connection, screen: silent(), json: false });
  return { console, stop: () => connection.stop() };
}

/** Nobody looks, and every question is answered. */
function silent(): ConsoleScreen {
  const nowhere = new Sink(new Writable({ write: (_chunk, _encoding, done) => done() }), () => undefined);
  return {
    interactive: false,
    colour: false,
    out: nowhere,
    err: nowhere,
    show: async () => undefined,
    ask: async () => SECRET,
    lend: (work) => work(),
  };
}

/** A use of a command; names of new things differ, so that nobody is in another's way. */
function sampleLine({ pattern, options }: Command, role: string, samples: Readonly<Record<string, string>>): string {
  const words = pattern.split(' ').map((part) => {
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

/** `ok`, or the code of the error. Changes of the configuration are only tried, in a candidate. */
async function outcome(role: string, line: string, configure: boolean): Promise<string> {
  const { console } = consoles.get(role) as { console: Console };
  const signal = new AbortController().signal;
  if (configure && console.mode === 'run') await console.enter('candidate');
  try {
    await console.execute(line, signal);
    return 'ok';
  } catch (error) {
    if (error instanceof RequestFailed) return `exit code ${error.exitCode}`;
    return TriggerFsError.from(error).code.replace('TFS_', '').toLowerCase();
  } finally {
    console.setCandidate([]);
    await console.leave().catch(() => undefined);
  }
}

async function matrix(samples: Readonly<Record<string, string>>, roles: readonly string[], wanted: RegExp): Promise<string[]> {
  const rows: string[] = [];
  for (const command of commands().filter(({ pattern }) => !LEFT_OUT.test(pattern) && wanted.test(pattern))) {
    const configure = !command.modes.includes('run');
    const cells: string[] = [];
    for (const role of roles) cells.push((await outcome(role, sampleLine(command, role, samples), configure)).padEnd(15));
    rows.push(`${command.pattern.replaceAll(/\|\w+(?= |$)/g, '').padEnd(48)} ${cells.join(' ')}`.trimEnd());
  }
  return rows;
}

test('every command does for each role what the golden matrix says', { timeout: 100_000 }, async () => {
  const head = `${''.padEnd(48)} ${ROLES.map((role) => role.padEnd(15)).join(' ')}`.trimEnd();
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
  };
  const naming = /<(worker|service|trigger|directory|user|team)>/;
  assert.deepEqual(await matrix(SAMPLES, ['foreigner'], naming), await matrix(absent, ['foreigner'], naming));
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
