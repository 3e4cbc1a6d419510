import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { before, type TestContext } from 'node:test';
import { lastFirst } from '../../support/last-first.ts';
import { isMounted, processesNaming } from '../../support/server.ts';
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

const SPOOLS = join(HOME, '.local', 'state', 'triggerfs', 'spools');
const PROMPT = /\(demo\) demo@127\.0\.0\.1\$ *\n*$/;

/** Names of spools: kept ones, and those of shells. */
function kept(): string[] {
  return existsSync(SPOOLS) ? readdirSync(SPOOLS).flatMap((owner) => readdirSync(join(SPOOLS, owner))) : [];
}

/** Lines that the demo's log plugin wrote. */
function logged(): string[] {
  const log = join(system.folder, 'data', 'demo.log');
  return existsSync(log) ? readFileSync(log, 'utf8').split('\n') : [];
}

/** A console in a terminal of its own, whose command `file` has started a shell. */
interface FileShell {
  readonly terminal: Terminal;
  readonly folder: string;
  /** Process ids. */
  readonly console: number;
  readonly shell: number;
}

async function openShell(t: Pick<TestContext, 'after'>): Promise<FileShell> {
  const terminal = new Terminal(t, cliCommand(system.ready.config, []), { env: { ...cliEnvironment(), SHELL: '/bin/bash' } });
  await terminal.see(PROMPT);
  await terminal.run('file');
  await terminal.run('echo "$$ $PPID $PWD."');
  const [, shell, parent, folder = ''] = /^(\d+) (\d+) (\/\S+)\.$/m.exec(terminal.screen()) ?? [];
  return { terminal, folder, console: Number(parent), shell: Number(shell) };
}

/** Waits until nothing of a shell is left: neither mount nor folder nor process. */
async function gone({ folder, console, shell }: FileShell): Promise<void> {
  const processes = (): number[] => [...processesNaming(folder), ...[console, shell].filter((pid) => existsSync(`/proc/${pid}`))];
  const isGone = (): boolean => !isMounted(folder) && !existsSync(folder) && processes().length === 0;
  await until(isGone, { timeoutMs: 12_000, what: `the end of ${folder}` });
}

function stopBroker(t: Pick<TestContext, 'after'>): () => void {
  const [broker = 0] = system.parts('edge-broker');
  process.kill(broker, 'SIGSTOP');
  const go = (): void => void process.kill(broker, 'SIGCONT');
  t.after(go);
  return go;
}

test('what no broker took before the shell ends is kept, said, and sent by the next shell', {
  skip: SKIP,
  timeout: 110_000,
}, async (context) => {
  const t = lastFirst(context);
  const terminal = new Terminal(t, cliCommand(system.ready.config, []), { env: { ...cliEnvironment(), SHELL: '/bin/bash' } });
  await terminal.see(/\(demo\) demo@127\.0\.0\.1\$ *\n*$/);

  // Everything is answered: nothing is waited for, and nothing is kept.
  await terminal.run('file');
  await terminal.run('echo "echo answered" > demo/command; until grep -q answered demo/command; do sleep 0.1; done');
  terminal.press('C-d');
  await terminal.see(/exit\n\(demo\) demo@127\.0\.0\.1\$ *\n*$/);
  assert.deepEqual(kept(), []);

  await terminal.run('file');
  const go = stopBroker(t);
  await terminal.run('echo kept in the spool > demo/log');
  terminal.press('C-d');
  await terminal.see(/Waiting at most 15 s for answers to what was written; Ctrl-C ends the waiting\./);
  terminal.press('C-c');
  await terminal.see(/are kept; they go out when file is used in this team again\.\n\(demo\) demo@127\.0\.0\.1\$ *\n*$/, 30_000);
  assert.equal(kept().length, 1);
  go();

  await terminal.run('file');
  assert.match(terminal.screen(), /Messages of an earlier shell, which had no answer, go out now\./);
  await until(() => logged().includes('kept in the spool'), { timeoutMs: 30_000, what: 'the kept message is delivered' });
  terminal.press('C-d');
  await terminal.see(/exit\n(Waiting.*\n)?\(demo\) demo@127\.0\.0\.1\$ *\n*$/, 30_000);
  assert.deepEqual(kept(), []);
  assert.equal(logged().filter((line) => line === 'kept in the spool').length, 1);
});

test('a console that is killed or loses its terminal leaves nothing behind but what no broker took, which the next shell sends', {
  skip: SKIP,
  timeout: 110_000,
}, async (context) => {
  const t = lastFirst(context);
  const shells = await Promise.all([1, 2, 3, 4].map(() => openShell(t)));
  const go = stopBroker(t);
  // In one of them a program works in the mount.
  await shells[0]?.terminal.run('(cd demo; exec sleep 600) &');
  for (const [index, { terminal }] of shells.entries()) await terminal.run(`echo written in ${index} > demo/log`);
  for (const [index, signal] of (['SIGKILL', 'SIGTERM', 'SIGHUP'] as const).entries()) process.kill(shells[index]?.console ?? 0, signal);
  shells[3]?.terminal.close();
  for (const shell of shells) await gone(shell);
  assert.equal(kept().length, 4);
  go();

  const next = await openShell(t);
  assert.match(next.terminal.screen(), /Messages of an earlier shell, which had no answer, go out now\./);
  const written = shells.map((_, index) => `written in ${index}`);
  await until(() => written.every((line) => logged().includes(line)), { timeoutMs: 30_000, what: 'all kept messages' });
  await next.terminal.run('until [ "$(stat -f -c %f .)" = "$(stat -f -c %b .)" ]; do sleep 0.1; done');
  next.terminal.press('C-d');
  await next.terminal.see(PROMPT, 30_000);
  assert.deepEqual(kept(), []);
  for (const line of written) assert.equal(logged().filter((other) => other === line).length, 1, line);
});

test('a shell takes over what a dead one has left, its mount too, and never what belongs to a living one', {
  skip: SKIP,
  timeout: 110_000,
}, async (context) => {
  const t = lastFirst(context);
  const first = await openShell(t);
  const go = stopBroker(t);
  await first.terminal.run('echo of the first > demo/log');
  const second = await openShell(t);
  assert.doesNotMatch(second.terminal.screen(), /earlier shell/);
  assert.equal(kept().length, 2);

  for (const pid of processesNaming(first.folder)) process.kill(pid, 'SIGKILL');
  await until(() => !isMounted(first.folder) && kept().length === 1, { timeoutMs: 15_000, what: 'the dead mount is cleaned up' });
  await second.terminal.run('echo of the second > demo/log');
  go();
  const both = ['of the first', 'of the second'];
  await until(() => both.every((line) => logged().includes(line)), { timeoutMs: 30_000, what: 'the messages of both' });
  first.terminal.press('C-d');
  await first.terminal.see(/The files went away before the shell ended: the process that mounted them did \(SIGKILL\)\./);
  second.terminal.press('C-d');
  for (const { terminal } of [first, second]) await terminal.see(PROMPT, 30_000);
  assert.deepEqual(kept(), []);
  for (const line of both) assert.equal(logged().filter((other) => other === line).length, 1, line);
});
