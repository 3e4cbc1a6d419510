import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import test, { before } from 'node:test';
import { lastFirst } from '../../support/last-first.ts';
import { System } from '../../support/system.ts';
import { until } from '../../support/wait.ts';
import { cliCommand, cliEnvironment } from './program.ts';
import { NO_TERMINAL, Terminal } from './terminal.ts';

const SKIP = NO_TERMINAL || (!existsSync('/dev/fuse') && 'no /dev/fuse here');
const HOME = cliEnvironment().HOME ?? '';

let system: System;
before(async (t) => {
  if (SKIP === false) system = await System.start(t as Parameters<typeof System.start>[0], { mount: false });
});

/** Names of kept spools. */
function kept(): string[] {
  const folder = join(HOME, '.local', 'state', 'triggerfs', 'spools');
  return existsSync(folder) ? readdirSync(folder).flatMap((owner) => readdirSync(join(folder, owner))) : [];
}

test('what no broker took before the shell ends is kept, said, and sent by the next shell', {
  skip: SKIP,
  timeout: 110_000,
}, async (context) => {
  const t = lastFirst(context);
  const log = join(system.folder, 'data', 'demo.log');
  const terminal = new Terminal(t, cliCommand(system.ready.config, []), { env: { ...cliEnvironment(), SHELL: '/bin/bash' } });
  await terminal.see(/\(demo\) demo@127\.0\.0\.1\$ *\n*$/);

  // Everything is answered: nothing is waited for, and nothing is kept.
  await terminal.run('file');
  await terminal.run('echo "echo answered" > demo/command; until grep -q answered demo/command; do sleep 0.1; done');
  terminal.press('C-d');
  await terminal.see(/exit\n\(demo\) demo@127\.0\.0\.1\$ *\n*$/);
  assert.deepEqual(kept(), []);

  await terminal.run('file');
  const [broker = 0] = system.parts('edge-broker');
  process.kill(broker, 'SIGSTOP');
  t.after(() => process.kill(broker, 'SIGCONT'));
  await terminal.run('echo kept in the spool > demo/log');
  terminal.press('C-d');
  await terminal.see(/Waiting at most 15 s for answers to what was written; Ctrl-C ends the waiting\./);
  terminal.press('C-c');
  await terminal.see(/are kept; they go out when file is used in this team again\.\n\(demo\) demo@127\.0\.0\.1\$ *\n*$/, 30_000);
  assert.equal(kept().length, 1);
  process.kill(broker, 'SIGCONT');

  await terminal.run('file');
  assert.match(terminal.screen(), /Messages of an earlier shell, which had no answer, go out now\./);
  const lines = (): string[] => (existsSync(log) ? readFileSync(log, 'utf8').split('\n') : []);
  await until(() => lines().includes('kept in the spool'), { timeoutMs: 30_000, what: 'the kept message is delivered' });
  terminal.press('C-d');
  await terminal.see(/exit\n(Waiting.*\n)?\(demo\) demo@127\.0\.0\.1\$ *\n*$/, 30_000);
  assert.deepEqual(kept(), []);
  assert.equal(lines().filter((line) => line === 'kept in the spool').length, 1);
  rmSync(join(HOME, '.local'), { recursive: true, force: true });
});
