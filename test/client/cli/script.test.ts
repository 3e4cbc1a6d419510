import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { before } from 'node:test';
import { System } from '../../support/system.ts';
import { until } from '../../support/wait.ts';
import { cliCommand, cliEnvironment, commands, type Ended, runCli } from './program.ts';

let system: System;
before(async (t) => {
  system = await System.start(t as Parameters<typeof System.start>[0], { mount: false });
});

/** Runs commands that must succeed; returns the lines that they print. */
async function lines(...given: string[]): Promise<string[]> {
  const { code, stdout, stderr } = await commands(system.ready.config, given);
  assert.equal(stderr, '');
  assert.equal(code, 0);
  return stdout.trimEnd().split('\n');
}

function run(given: readonly string[], args: readonly string[] = []): Promise<Ended> {
  return commands(system.ready.config, given, args);
}

test('things are made, changed, renamed and deleted at once', async () => {
  const made = await lines('configure', 'set workers identity alpha description "first one"', 'show workers | match alpha');
  assert.match(made[0] ?? '', /^Token: [0-9a-f-]{36}$/);
  assert.deepEqual(made.slice(3, 4), ['[workers.demo.alpha]']);
  assert.match(made.at(-1) ?? '', /^ +\d+ \| alpha +\| first one +\| DISCONNECTED \| \(hidden\) \| demo /);
  assert.deepEqual(
    await lines('configure', 'set services name group', 'set serv group workers add alpha', 'show services | match group | count'),
    [
      'Notice: this service has algorithm roundrobin. Roundrobin is handled by the broker. Running workers take up the change by themselves.',
      'Count: 1 lines',
    ],
  );
  await lines('configure', 'set services group timeout 5s algorithm mirror', 'rename workers alpha to beta', 'set trigger name /demo/new');
  await lines('configure', 'set trigger new plugin command/command', 'set trigger new service attach group', 'set trigger new args a=b');
  const [shown = ''] = (await run(['show services group | json'])).stdout.split('\0');
  const { timeoutMs, algorithm, workers, triggers } = JSON.parse(shown) as Record<string, unknown>;
  assert.deepEqual(
    { timeoutMs, algorithm, workers, triggers },
    { timeoutMs: 5000, algorithm: 'mirror', workers: ['beta'], triggers: ['/demo/new'] },
  );
  await lines('configure', 'delete trigger new', 'delete services group', 'delete workers beta');
  assert.deepEqual(await lines('show workers | match beta'), ['']);
});

test('a script stops at the first error and names its line', async () => {
  const script = '# a comment\n\nconfigure\nset workers identity kept\nset workers identity kept2 colour red\nset workers identity never\n';
  const { code, stderr } = await runCli(system.ready.config, [], script);
  assert.equal(code, 64);
  assert.match(stderr, /^triggerfs-cli: line 5: set workers identity kept2 colour red\n {2}.*expected description/);
  assert.deepEqual(await lines('show workers | match "kept|never" | count'), ['Count: 1 lines']);
  await lines('configure', 'delete workers kept');
  const missing = await run(['show workers nobody']);
  assert.deepEqual([missing.code, missing.stdout], [66, '']);
  assert.match(missing.stderr, /^triggerfs-cli: -e 1: show workers nobody\n.*TFS_NOT_FOUND/);
  const wrongMode = await run(['set workers identity x']);
  assert.match(wrongMode.stderr, /set is a command of the configure mode: enter configure first/);
});

test('a request shows its output, and its exit code is the script’s', async () => {
  const { code, stdout } = await run(['request service demo plugin command/command command "echo out; echo more; exit 3"', 'echo never']);
  assert.equal(code, 3);
  assert.match(
    stdout,
    /Sending message to service demo \(roundrobin\)\n\[command\/command@demo01\] out\n\[command\/command@demo01\] more\nExit code: 3\nTotal messages: 2\nTime ran: /,
  );
  assert.doesNotMatch(stdout, /never/);
  assert.deepEqual(await lines('request service demo plugin command/command command "seq 1 30" | match 3$ | last 2'), [
    '[command/command@demo01] 13',
    '[command/command@demo01] 23',
  ]);
  const events = (await run(['request service demo plugin command/command command "echo hi" | json'])).stdout.trim().split('\n');
  assert.deepEqual(
    events.map((event) => (JSON.parse(event) as { event: string }).event),
    ['manifest', 'output', 'verdict', 'done'],
  );
});

test('a candidate is collected, compared, committed and rolled back', async () => {
  const before = await lines('show configuration');
  const compared = await lines(
    'configure candidate',
    'set workers identity gamma',
    'delete triggers log',
    'show | compare',
    'commit check',
    'rollback 0',
    'show | count',
  );
  assert.deepEqual(compared, [
    '[edit workers gamma]',
    '+ set workers identity gamma',
    '[edit triggers /demo/log]',
    ...before.filter((line) => /^set triggers (name )?\/demo\/log( |$)/.test(line)).map((line) => `- ${line}`),
    'configuration check succeeds',
    'Count: 0 lines',
  ]);
  assert.deepEqual(await lines('show configuration'), before);
  const refused = await run(['configure candidate', 'set workers identity gamma', 'set services nothing timeout 5s']);
  assert.match(refused.stderr, /-e 3: .*\n.*line 2, .*nothing/);
  const forgotten = await run(['configure candidate', 'set workers identity gamma']);
  assert.deepEqual([forgotten.code, forgotten.stderr.includes('1 changes were collected and not committed')], [64, true]);
  const committed = await lines(
    'configure candidate',
    'set workers identity gamma',
    'set services demo workers add gamma',
    'commit comment "grow"',
  );
  assert.equal(committed.at(-1), 'commit complete');
  assert.match(
    (await lines('show log commit | last 99'))[0] ?? '',
    /demo +\| 127\.0\.0\.1 +\| done +\| grow +\| set workers identity gamma \(and 1 more\)$/,
  );
  await lines('configure', 'rollback 1');
  assert.deepEqual(await lines('show configuration'), before);
});

test('show | compare tells what a candidate makes of the configuration, and what was changed since an earlier commit', async () => {
  await lines('configure', 'set services name compared', 'set services compared timeout 5s');
  const compared = await lines(
    'configure candidate',
    // Set already, so nothing changes.
    'set services compared timeout 5s',
    'show | compare',
    'set services compared timeout 10s description "two words"',
    'rename services compared to other',
    'rename services other to compared',
    'rename teams demo to renamed',
    'show | compare',
    'show | compare rollback 2',
    'show | compare | json',
    'rollback 0',
  );
  const change = [
    '[edit teams]',
    '! rename teams demo to renamed',
    '[edit services compared]',
    '- set services compared timeout 5s',
    '+ set services compared description "two words"',
    '+ set services compared timeout 10s',
  ];
  const since = [
    ...change.slice(0, 3),
    '+ set services name compared',
    '+ set services compared description "two words"',
    '+ set services compared timeout 10s',
  ];
  const json = compared.slice(change.length + since.length).join('\n');
  assert.deepEqual(compared.slice(0, change.length + since.length), [...change, ...since]);
  assert.deepEqual((JSON.parse(json) as { object: string }[])[0]?.object, 'services compared');
  assert.deepEqual(await lines('show configuration | compare rollback 1'), [
    '[edit services compared]',
    '+ set services compared timeout 5s',
  ]);
  const refused = await run(['show workers | compare']);
  assert.match(refused.stderr, /\| compare follows show/);
  assert.match((await run(['show configuration | compare rollback 49'])).stderr, /no state 49 commits ago/);
  await lines('configure', 'delete services compared');
});

test('a commit that is to be confirmed waits for it', async () => {
  const printed = await lines('configure candidate', 'set services demo description "new"', 'commit confirmed 1', 'commit');
  assert.match(printed[0] ?? '', /^It is rolled back at .* UTC unless it is confirmed: enter commit once more\.$/);
  assert.match(printed.at(-1) ?? '', /^commit \d+ confirmed$/);
  const nothing = await run(['configure', 'commit']);
  assert.match(nothing.stderr, /nothing to commit: changes take effect at once/);
});

test('an exclusive configuration keeps others out, and ends with the console', async (t) => {
  await system.api('POST', '/v1/users', { identity: 'other', secret: 'another password', role: 'admin' });
  const [program = '', ...args] = cliCommand(system.ready.config, []);
  const holder = spawn(program, args, { env: cliEnvironment() });
  t.after(() => holder.kill('SIGKILL'));
  holder.stdin.write('configure exclusive\necho held\n');
  await once(holder.stdout, 'data');
  const file = join(system.folder, 'other.toml');
  const { api } = system.ready;
  writeFileSync(file, `[main]\napi = "${api}"\nteam = "demo"\nidentity = "other"\nsecret = "another password"\n`, { mode: 0o600 });
  const kept = await commands(file, ['configure', 'set workers identity nope']);
  assert.equal(kept.code, 73);
  assert.match(kept.stderr, /demo holds/);
  holder.stdin.end();
  await once(holder, 'close');
  await until(async () => (await commands(file, ['configure', 'set workers identity yes', 'delete workers yes'])).code === 0, {
    what: 'the lock is gone',
  });
});

test('the configuration is loaded into an empty team and rebuilds it', async () => {
  const text = (await run(['show configuration'])).stdout;
  const file = join(system.folder, 'team.conf');
  writeFileSync(file, `# kept in git\n${text}`);
  await lines('configure', 'set teams name copy');
  const loaded = await run(['configure', `load ${file}`], ['-team', 'copy']);
  assert.equal(loaded.code, 0, loaded.stderr);
  assert.match(loaded.stdout, /\[workers\.copy\.demo01\]\ntoken = "/);
  assert.equal((await run(['show configuration'], ['-team', 'copy'])).stdout, text);
  writeFileSync(file, 'set workers identity a1\nset nonsense\n');
  const refused = await run(['configure', `load ${file}`], ['-team', 'copy']);
  assert.match(refused.stderr, /line 2, "set nonsense"/);
  assert.equal((await run(['show configuration'], ['-team', 'copy'])).stdout, text);
});

test('tokens, invitations, the plan and mail are reached', async () => {
  assert.match((await lines('configure', 'set tokens name ci scopes read,invoke'))[0] ?? '', /^Token: tfs_/);
  assert.deepEqual(await lines('show tokens | match ci | count', 'configure', 'delete tokens ci', 'show tokens | count'), [
    'Count: 1 lines',
    'Count: 0 lines',
  ]);
  assert.deepEqual(
    await lines('configure', 'set invites email x@example.com role viewer', 'show invites | count', 'delete invites x@example.com'),
    ['x@example.com is invited.', 'Count: 1 lines'],
  );
  assert.match((await lines('show plan')).join('\n'), /workers +\| +\d+ \| unlimited/);
  assert.match((await lines('mail')).at(-2) ?? '', /rows\)$/);
});

test('JSON answers are the API’s own objects', async () => {
  const { stdout } = await run(['show workers'], ['-json']);
  const [worker] = JSON.parse(stdout) as { identity: string; state: string }[];
  assert.deepEqual([worker?.identity, worker?.state], ['demo01', 'ONLINE']);
});

test('a reader that has enough ends the program quietly', async () => {
  const [program = '', ...args] = cliCommand(system.ready.config, [
    '-e',
    'request service demo plugin command/command command "seq 1 300000"',
  ]);
  const child = spawn(program, args, { env: cliEnvironment() });
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (chunk: string) => {
    stderr += chunk;
  });
  child.stdout.once('data', () => child.stdout.destroy());
  const [code] = (await once(child, 'close')) as [number];
  assert.deepEqual([code, stderr], [141, '']);
});

test('help lists the commands of a mode, and what may follow', async () => {
  const help = await lines('help');
  assert.ok(help.some((line) => line.startsWith('  request service <service> plugin <plugin> [command <text>]')));
  assert.ok(!help.some((line) => line.startsWith('  set ')));
  assert.ok((await lines('configure', 'help set services')).length > 5);
  assert.deepEqual((await lines('show services ?')).slice(0, 3), [
    'Possible completions:',
    '  <Enter>    Do it',
    '  <service>  Everything about a service',
  ]);
});
