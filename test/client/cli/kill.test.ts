import assert from 'node:assert/strict';
import { realpathSync } from 'node:fs';
import test, { before } from 'node:test';
import pg from 'pg';
import { System } from '../../support/system.ts';
import { until } from '../../support/wait.ts';
import { cliCommand, cliEnvironment, commands } from './program.ts';
import { NO_TERMINAL, Terminal } from './terminal.ts';

let system: System;
before(async (t) => {
  if (NO_TERMINAL === false) system = await System.start(t as Parameters<typeof System.start>[0], { mount: false });
});

async function configuration(): Promise<string[]> {
  const { code, stdout, stderr } = await commands(system.ready.config, ['show configuration']);
  assert.equal(code, 0, stderr);
  return stdout.trimEnd().split('\n');
}

/** Processes of the console; tmux and the shell in it name the same things. */
function consoles(): number[] {
  const node = realpathSync(process.execPath);
  return system.parts('client/cli').filter((pid) => realpathSync(`/proc/${pid}/exe`) === node);
}

test('what commit confirmed made is rolled back by itself after console and control-plane were killed', {
  skip: NO_TERMINAL,
  timeout: 100_000,
}, async (t) => {
  const before = await configuration();
  const terminal = new Terminal(t, cliCommand(system.ready.config, []), { env: cliEnvironment() });
  await terminal.see(/\(demo\) demo@127\.0\.0\.1\$ *\n*$/);
  await terminal.run('configure candidate');
  await terminal.run('set services demo timeout 5s description "for a minute"');
  await terminal.run('delete triggers log');
  await terminal.run('commit confirmed 1');
  assert.match(terminal.screen(), /It is rolled back at .* UTC unless it is confirmed: enter commit once more\.\ncommit complete\n/);
  const during = await configuration();
  assert.notDeepEqual(during, before);

  for (const pid of consoles()) process.kill(pid, 'SIGKILL');
  await until(() => terminal.ended, { what: 'the console is dead' });
  // The minute ends while nobody is there to see it.
  const client = new pg.Client(system.ready.database);
  await client.connect();
  await client.query(`update triggerfs.configuration_commits set confirm_by = now() + interval '300 ms' where state = 'pending'`);
  await client.end();
  await system.killPart('control-plane');

  await until(
    () =>
      configuration().then(
        (lines) => lines.join() === before.join(),
        () => false,
      ),
    { timeoutMs: 30_000, what: 'the configuration is what it was' },
  );
  const log = await commands(system.ready.config, ['show log commit | last 2']);
  assert.match(log.stdout, /rollback done .*commit \d+ was not confirmed in time/);

  // The rollback is a commit like others, and can be undone from the console.
  const undone = await commands(system.ready.config, ['configure', 'rollback 1', 'show configuration']);
  assert.equal(undone.code, 0, undone.stderr);
  assert.match(undone.stdout, /^rollback complete \(commit \d+\)\n/);
  assert.deepEqual(undone.stdout.trimEnd().split('\n').slice(1), during);
  await commands(system.ready.config, ['configure', 'rollback 1']);
  assert.deepEqual(await configuration(), before);
});
