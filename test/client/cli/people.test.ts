import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { before, type TestContext } from 'node:test';
import pg from 'pg';
import { callApi } from '../../../runtime/api.ts';
import { logIn } from '../../../runtime/credentials.ts';
import { VERSION } from '../../../runtime/version.ts';
import { System } from '../../support/system.ts';
import { cliCommand, cliEnvironment, commands, runCli } from './program.ts';
import { NO_TERMINAL, Terminal } from './terminal.ts';

const SECRET = 'a good password';

let system: System;
before(async (t) => {
  system = await System.start(t as Parameters<typeof System.start>[0], { mount: false });
});

/** An account of somebody who has signed up and is in no team. */
async function makeAccount(identity: string): Promise<void> {
  const { api } = system.ready;
  await system.api('POST', '/v1/users', { identity, secret: SECRET, role: 'viewer' });
  const { apiToken: token } = await logIn(api, { kind: 'user', team: 'demo', identity, secret: SECRET });
  await sql('update triggerfs.users set signed_up = true where identity = $1', [identity]);
  await callApi(api, { method: 'POST', path: '/v1/leave', token, body: { team: 'demo' } });
}

/** The configuration file of a person. */
function configOf(identity: string, team = '', secret = SECRET): string {
  const file = join(system.folder, `${identity}.toml`);
  const lines = Object.entries({ api: system.ready.api, team, identity, secret }).map(([key, value]) => `${key} = "${value}"`);
  writeFileSync(file, `[main]\n${lines.join('\n')}\n`, { mode: 0o600 });
  return file;
}

/** The console of a person in a terminal, with its prompt there. */
async function open(t: TestContext, config: string, prompt: RegExp): Promise<Terminal> {
  const terminal = new Terminal(t, cliCommand(config, []), { env: cliEnvironment() });
  await terminal.see(prompt);
  return terminal;
}

async function invite(identity: string): Promise<number> {
  const { id } = await system.api<{ id: number }>('POST', '/v1/invites', { identity, role: 'member' });
  return id;
}

async function sql(text: string, values: readonly unknown[]): Promise<void> {
  const client = new pg.Client(system.ready.database);
  await client.connect();
  await client.query(text, [...values]);
  await client.end();
}

test('an invitation is accepted, the team switched to without another login, and left', { skip: NO_TERMINAL }, async (t) => {
  await makeAccount('guest');
  const id = await invite('guest');
  const terminal = await open(t, configOf('guest'), /\nguest@127\.0\.0\.1\$ *\n*$/);
  assert.match(terminal.screen(), /Logged in as guest in no team\.(.*\n)+You have 1 unread letter: see mail\./);
  await terminal.run('show workers');
  assert.match(terminal.screen(), /this login is in no team/);
  await terminal.run('show invitations');
  assert.match(terminal.screen(), new RegExp(`${id} \\| demo +\\| member \\| demo `));
  await terminal.run(`request invitation accept ${id}`);
  assert.match(terminal.screen(), /You are member of the team demo now\. To work in it, enter: request team switch demo/);
  // No login is possible any more: what goes on goes on in the sessions that there are.
  await sql(`update triggerfs.users set secret_hash = 'x' where identity = 'guest'`, []);
  await terminal.run('request team switch demo');
  await terminal.see(/\n\(demo\) guest@127\.0\.0\.1\$ *\n*$/);
  await terminal.run('show workers | match demo01 | count');
  assert.match(terminal.screen(), /Count: 1 lines/);
  await terminal.run('request service demo plugin command/command command "echo as a guest"');
  assert.match(terminal.screen(), /\] as a guest\n/);
  await terminal.run('show sessions | match yes$');
  assert.match(terminal.screen(), new RegExp(`\\| demo \\| 127\\.0\\.0\\.1 \\| triggerfs-cli/${VERSION.replaceAll('.', '\\.')} `));
  await terminal.run('request team switch nothing');
  assert.match(terminal.screen(), /you are in no team nothing/);
  await terminal.run('request team leave');
  assert.match(terminal.screen(), /You have left the team demo\./);
  await terminal.see(/\nguest@127\.0\.0\.1\$ *\n*$/);
  await terminal.run('show teams | count');
  assert.match(terminal.screen(), /Count: 0 lines/);
});

test('an invitation is declined by a script', async () => {
  await makeAccount('modest');
  const id = await invite('modest');
  const script = `show invitations | count\nrequest invitation decline ${id}\nshow invitations | count\nrequest invitation accept ${id}\n`;
  const { code, stdout, stderr } = await runCli(configOf('modest'), [], script);
  assert.deepEqual([code, stdout], [66, 'Count: 1 lines\nCount: 0 lines\n']);
  assert.match(stderr, /line 4: request invitation accept/);
});

test('a password is changed; the console goes on, other sessions end, the old password is worth nothing', {
  skip: NO_TERMINAL,
}, async (t) => {
  const { api } = system.ready;
  await system.api('POST', '/v1/users', { identity: 'careful', secret: SECRET, role: 'member' });
  const other = await logIn(api, { kind: 'user', team: 'demo', identity: 'careful', secret: SECRET });
  const config = configOf('careful', 'demo');
  const terminal = await open(t, config, /\(demo\) careful@127\.0\.0\.1\$ *\n*$/);
  await terminal.run('request password change', /Current password:$/);
  await terminal.run('not the password', /New password:$/);
  await terminal.run('a better password', /Once more:$/);
  await terminal.run('a better password');
  assert.match(terminal.screen(), /the current password is wrong|TFS_BAD_CREDENTIALS/);
  await terminal.run('request password change', /Current password:$/);
  await terminal.run(SECRET, /New password:$/);
  await terminal.run('a better password', /Once more:$/);
  await terminal.run('a better password');
  assert.match(terminal.screen(), /The password is changed\. Other sessions have ended/);
  await terminal.run('show workers | count');
  await terminal.run('show sessions | count');
  assert.match(terminal.screen(), /Count: 1 lines\n(.*\n)*.*show sessions \| count\nCount: 1 lines\n/);
  assert.doesNotMatch(terminal.screen(), /good password|better password/);
  await assert.rejects(callApi(api, { method: 'GET', path: '/v1/workers', token: other.apiToken }), { code: 'TFS_REVOKED' });
  assert.equal((await commands(config, ['show whoami'])).code, 77);
  assert.equal((await commands(configOf('careful', 'demo', 'a better password'), ['show whoami'])).code, 0);
});

test('a team is deleted only when its name is typed', { skip: NO_TERMINAL }, async (t) => {
  await makeAccount('founder');
  const terminal = await open(t, configOf('founder'), /\nfounder@127\.0\.0\.1\$ *\n*$/);
  await terminal.run('configure');
  await terminal.run('set teams name shortlived');
  await terminal.run('exit');
  await terminal.run('request team switch shortlived');
  await terminal.run('configure');
  const question = /Type its name to delete it:$/;
  await terminal.run('delete teams shortlived', question);
  await terminal.run('shortlife');
  assert.match(terminal.screen(), /Nothing was deleted\./);
  await terminal.run('delete teams shortlived', question);
  await terminal.run('shortlived');
  assert.match(terminal.screen(), /The team shortlived is deleted\./);
  await terminal.see(/\nfounder@127\.0\.0\.1\$ configure# *\n*$/);
  await terminal.run('show teams | count');
  assert.match(terminal.screen(), /Count: 0 lines/);
});

test('a session of another program is ended from the list', async () => {
  await system.api('POST', '/v1/users', { identity: 'several', secret: SECRET, role: 'viewer' });
  const other = await logIn(system.ready.api, { kind: 'user', team: 'demo', identity: 'several', secret: SECRET }, 'another/1.0');
  const config = configOf('several', 'demo');
  const { stdout } = await commands(config, ['show sessions | match another | json']);
  const [{ id, agent } = { id: '', agent: '' }] = JSON.parse(stdout) as { id: string; agent: string }[];
  assert.equal(agent, 'another/1.0');
  assert.equal((await commands(config, [`request session end ${id}`, 'show sessions | match another | count'])).stdout, 'Count: 0 lines\n');
  await assert.rejects(callApi(system.ready.api, { method: 'GET', path: '/v1/workers', token: other.apiToken }), { code: 'TFS_REVOKED' });
});
