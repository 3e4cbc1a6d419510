import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { before } from 'node:test';
import type { HistoryInvocation } from '../../../protocol/http/history.ts';
import type { QueueAccepted, QueueView } from '../../../protocol/http/queue.ts';
import { System } from '../../support/system.ts';
import { until } from '../../support/wait.ts';
import { cliCommand, cliEnvironment, commands, type Ended } from './program.ts';
import { NO_TERMINAL, Terminal } from './terminal.ts';

let system: System;
before(async (t) => {
  system = await System.start(t as Parameters<typeof System.start>[0], { mount: false });
});

function run(...given: string[]): Promise<Ended> {
  return commands(system.ready.config, given);
}

/** Has a command accepted for later and returns its id. */
async function later(command: string, more: object = {}): Promise<string> {
  const body = { service: 'demo', plugin: 'command/command', command, ...more };
  return (await system.api<QueueAccepted>('POST', '/v1/invocations', body)).id;
}

function queued(id: string): Promise<QueueView> {
  return system.api<QueueView>('GET', `/v1/invocations/${id}`);
}

async function kept(id: string): Promise<HistoryInvocation> {
  const seen = (): Promise<HistoryInvocation> => system.api<HistoryInvocation>('GET', `/v1/history/${id}`);
  await until(async () => (await seen()).state === 'done' && (await seen()).runs.length > 0, { timeoutMs: 20_000, what: 'the history' });
  return seen();
}

test('monitor goes on live; Ctrl-C leaves what runs alone', { skip: NO_TERMINAL }, async (t) => {
  const id = await later('echo begun; sleep 60');
  const terminal = new Terminal(t, cliCommand(system.ready.config, []), { env: cliEnvironment() });
  await terminal.see(/\(demo\) demo@127\.0\.0\.1\$ *\n*$/);
  terminal.type(`monitor ${id}`);
  terminal.press('Enter');
  await terminal.see(/\] begun\n/);
  terminal.press('C-c');
  await terminal.see(/\^C\n\(demo\) demo@127\.0\.0\.1\$ *\n*$/);
  assert.equal((await queued(id)).state, 'running');
  await terminal.run(`request queue cancel ${id}`);
  await terminal.see(new RegExp(`${id} is (being )?cancelled`));
  await until(async () => (await queued(id)).state === 'cancelled', { timeoutMs: 15_000, what: 'the end' });
});

test('a monitor survives the control-plane, and shows every line once', async () => {
  const id = await later('for n in $(seq 1 60); do echo line $n; sleep 0.1; done');
  const watching = run(`monitor ${id}`);
  await until(async () => (await queued(id)).state === 'running', { what: 'it runs' });
  await system.killPart('control-plane');
  const { code, stdout, stderr } = await watching;
  assert.equal(code, 0, stderr);
  assert.deepEqual(
    stdout.split('\n').filter((line) => line.includes('] line ')),
    Array.from({ length: 60 }, (_, index) => `[command/command@demo01] line ${index + 1}`),
  );
  await until(
    () =>
      system.api('GET', '/v1/whoami').then(
        () => true,
        () => false,
      ),
    { timeoutMs: 20_000, what: 'the control-plane answers' },
  );
});

test('what a plugin prints cannot reach the terminal from the history', async () => {
  const id = await later(String.raw`printf '\033]0;title\007\033[2Jx\000\377y\r\nlast'`);
  await kept(id);
  const { stdout } = await run(`show history ${id}`);
  assert.ok([...stdout].every((character) => character === '\n' || !/\p{Cc}/u.test(character)));
  assert.match(stdout, /\[demo01\] \^\[\]0;title\^G\^\[\[2Jx\^@\ufffdy\n\[demo01\] last\n$/);
  const json = JSON.parse((await run(`show history ${id} | json`)).stdout) as HistoryInvocation;
  assert.deepEqual([json.id, json.verdict, json.runs.length], [id, 'ok', 1]);
});

test('the history is searched', async () => {
  await system.api('POST', '/v1/configuration/commit', {
    commands: ['set services name other', 'set services other workers add demo01'],
  });
  const failed = await later('exit 7', { service: 'other' });
  await kept(failed);
  const counts = async (filters: readonly string[]): Promise<string[]> => {
    const lines = filters.map((filter) => `show history ${filter} | match ${failed} | count`);
    return (await run(...lines)).stdout.trim().split('\n');
  };
  const fitting = ['service other', 'verdict failed', 'worker demo01', 'source api', 'caller demo', 'since 1h', 'plugin command/command'];
  const others = ['service demo', 'verdict ok', 'source fs', 'until 1h', 'since 2099-01-01'];
  assert.deepEqual(
    await counts(fitting),
    fitting.map(() => 'Count: 1 lines'),
  );
  assert.deepEqual(
    await counts(others),
    others.map(() => 'Count: 0 lines'),
  );
  assert.match((await run('show history verdict wrong')).stderr, /unexpected word wrong; expected ok, failed/);
  assert.match((await run('show history limit 1')).stdout, /There are more: narrow it down, or give a higher limit\.\n\(1 rows\)/);
  const again = await run(`request replay ${failed}`);
  const [id = ''] = /[0-9a-f-]{36}/.exec(again.stdout) ?? [];
  assert.equal((await kept(id)).exitCode, 7);
  assert.match((await run('show statistics service other')).stdout, /\| other +\| +2 \| +2 \|/);
});

test('dead letters are shown with their reason, and tried again', async () => {
  const file = join(system.folder, 'may-succeed');
  const id = await later(`test -e ${file} || { echo not yet >&2; exit 5; }`);
  await until(async () => (await queued(id)).state === 'dead', { timeoutMs: 20_000, what: 'the dead letter' });
  assert.match((await run(`show queue dead | match ${id}`)).stdout, /\| dead +\| demo .*\| failed/);
  assert.match((await run(`show queue ${id}`)).stdout, /attempt 1 on demo01 at .*: failed, exit code 5 \([0-9a-f-]{36}\)\n\nnot yet\n$/);
  writeFileSync(file, '');
  assert.match((await run(`request queue redrive ${id}`)).stdout, /It is queued again; to watch it, enter: monitor /);
  const { code, stderr } = await run(`monitor ${id}`);
  assert.equal(code, 0, stderr);
  assert.equal((await queued(id)).state, 'done');
  const refused = await run(`request queue redrive ${id}`);
  assert.match(refused.stderr, /is done: only dead, expired and cancelled ones go back/);
  assert.match((await run('request queue redrive service demo')).stdout, /^\d+ are queued again\n$/);
});

test('schedules are collected, compared, committed, run and rolled back', async () => {
  const before = (await run('show configuration')).stdout;
  const { code, stdout, stderr } = await run(
    'configure candidate',
    'set schedules name often',
    'set schedule often every 10m trigger /demo/command payload "echo of the schedule"',
    'show | compare',
    'commit',
    'request schedule often run',
  );
  assert.equal(code, 0, stderr);
  assert.match(stdout, /^\[edit schedules often\]\n\+ set schedules name often\n(\+ set schedules often .*\n){3}commit complete\n/);
  const [id = ''] = /[0-9a-f-]{36}/.exec(stdout) ?? [];
  assert.equal((await kept(id)).source, 'schedule');
  assert.match((await run(`monitor ${id}`)).stdout, /\] of the schedule\n/);
  const shown = await run('show schedules often');
  assert.equal(shown.stdout.match(/^due \w{3}, .* UTC \(/gm)?.length, 5);
  assert.match(shown.stdout, new RegExp(`^fired .* \\(by hand\\), ${id}$`, 'm'));
  assert.match((await run('request schedule often pause until 2h', 'show schedules')).stdout, /often +\| paused /);
  assert.equal((await run('request schedule often resume')).stdout, 'often goes on\n');
  assert.match((await run('request schedule often pause until tomorrow')).stderr, /neither a duration such as 2h nor a time/);
  assert.match((await run('configure', 'set schedules often timezone Nowhere/Land')).stderr, /Nowhere\/Land/);
  await run('configure', 'delete schedules often');
  assert.equal((await run('show configuration')).stdout, before);
  await run('configure', 'rollback 1');
  assert.match((await run('show schedules | match often')).stdout, /\/demo\/command/);
  await run('configure', 'rename schedules often to seldom', 'delete schedules seldom');
});

test('webhooks are made, and their secrets shown once', async () => {
  const made = await run(
    'configure',
    'set services demo http hook push scheme github',
    'set services demo http hook push plugin command/command',
    'request service demo hook push secret',
    'show hooks',
  );
  assert.match(
    made.stdout,
    /^Notice: the hook push needs a secret: request service demo hook push secret\nSecret: \S{32,}\nIt is shown only now\./m,
  );
  assert.match(made.stdout, /\| push +\| demo +\| github \| command\/command \| async \| \/v1\/hooks\/demo\/push \| +1\n/);
  // What the configuration prints can be entered as it is.
  const lines = (await run('show configuration')).stdout.split('\n').filter((line) => line.includes(' http '));
  assert.equal((await run('configure', 'delete services demo http hook push', ...lines)).code, 0);
  assert.deepEqual((await run('show configuration | match " http "')).stdout.trim().split('\n'), lines);
  await run('configure', 'delete services demo http hook push');
  assert.match((await run('request service demo hook push secret')).stderr, /push/);
});
