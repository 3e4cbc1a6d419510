import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { packageRoot } from '../../../runtime/package-root.ts';
import { lastFirst } from '../../support/last-first.ts';
import { System } from '../../support/system.ts';
import { until } from '../../support/wait.ts';
import { maskedScreen } from './masked-screen.ts';
import { cliCommand, cliEnvironment } from './program.ts';
import { NO_TERMINAL, Terminal } from './terminal.ts';

const SKIP = NO_TERMINAL || (!existsSync('/dev/fuse') && 'no /dev/fuse here');
const GOLDEN = join(import.meta.dirname, 'golden');
const SECRET = 'a good password';

function golden(name: string): string {
  return readFileSync(join(GOLDEN, name), 'utf8');
}

/** One of our programs, ended with the test. */
function program(t: Pick<TestContext, 'after'>, folder: string, args: readonly string[], cwd: string): ChildProcess {
  const child = spawn(process.execPath, [join(packageRoot(), folder, 'bin.ts'), ...args], {
    cwd,
    env: cliEnvironment(),
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  t.after(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGTERM');
    await once(child, 'exit');
  });
  return child;
}

async function output(child: ChildProcess): Promise<string> {
  let text = '';
  child.stdout?.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
  });
  await once(child, 'close');
  return text;
}

/** The code that a server without mail writes into its log. */
async function activationCode(log: string): Promise<string> {
  const found = await until(() => /Your activation code is ([A-Z0-9-]+)/.exec(readFileSync(log, 'utf8')), { what: 'an activation code' });
  return found[1] as string;
}

test('the Get Started chapter, from the sign-up to one hit', { skip: SKIP, timeout: 110_000 }, async (context) => {
  // The mount ends before the folder that it lies in is removed.
  const t = lastFirst(context);
  const system = await System.start(t, { mount: false });
  const { folder } = system;
  const config = join(folder, 'triggerfs.toml');
  const main = `[main]\napi = "${system.ready.api}"\n`;
  writeFileSync(config, main, { mode: 0o600 });

  const terminal = new Terminal(t, cliCommand(config, ['-signup']), {
    env: { ...cliEnvironment(), SHELL: '/bin/bash', HOME: folder },
    columns: 230,
    rows: 60,
    cwd: folder,
  });
  await terminal.see(/Identity: *\n*$/);
  await terminal.run('hp1', /E-mail:$/);
  await terminal.run('hp@example.com', /New password:$/);
  await terminal.run(SECRET, /Once more:$/);
  await terminal.run(SECRET, /Activation code:$/);
  await terminal.run(await activationCode(join(folder, 'data', 'logs', 'control-plane.log')));
  await terminal.run('configure');
  await terminal.run('set teams name team1');
  terminal.press('C-d');
  await terminal.see(/\^D\nhp1@127\.0\.0\.1\$ *\n*$/);
  await terminal.run('request team switch team1');

  await terminal.run('configure');
  await terminal.run('set workers identity demo01');
  await terminal.run('show workers');
  await terminal.run('set services name demoservice');
  await terminal.run('show services');
  await terminal.run('set services demoservice workers add demo01');
  await terminal.run('show services');

  const token = /^token = "(.+)"$/m.exec(terminal.screen())?.[1] ?? '';
  const login = `team = "team1"\nidentity = "hp1"\nsecret = "${SECRET}"\n`;
  writeFileSync(config, `${main}${login}\n[triggerfs]\nmountpoint = "./mountpoint"\n\n[workers.team1.demo01]\ntoken = "${token}"\n`, {
    mode: 0o600,
  });
  program(t, 'worker-agent', ['-config', config, '-identity', 'demo01'], folder);
  await until(
    async () => {
      await terminal.run('show workers | match ONLINE');
      return /\| ONLINE +\|/.test(terminal.screen().trimEnd().split('\n').at(-2) ?? '');
    },
    { timeoutMs: 20_000, what: 'the worker is online' },
  );
  await terminal.run('show workers');

  terminal.press('C-d');
  await terminal.see(/\^D\n\(team1\) hp@example\.com\$ *\n*$/);
  await terminal.run('file');
  await terminal.run('mkdir newtrigger');
  terminal.press('C-d');
  await terminal.see(/\(team1\) hp@example\.com\$ *\n*$/);
  await terminal.run('configure');
  await terminal.run('set trigger name /newtrigger/demotrigger');
  await terminal.run('set trigger demotrigger plugin command/command');
  await terminal.run('set trigger demotrigger service attach demoservice');
  await terminal.run('show triggers');
  terminal.press('C-d');
  await terminal.see(/\^D\n\(team1\) hp@example\.com\$ *\n*$/);
  await terminal.run('file');
  await terminal.run('ls -l newtrigger/');
  terminal.press('C-d');
  await terminal.see(/exit\n\(team1\) hp@example\.com\$ *\n*$/);

  const request = ['-config', config, '-service', 'demoservice', '-plugin', 'command/command', '-timeout', '10s', '-command', 'uptime'];
  const answer = await output(program(t, 'client', request, folder));
  assert.equal(maskedScreen(answer), golden('client.txt'));

  program(t, 'fs', ['-config', config], folder);
  const file = join(folder, 'mountpoint', 'newtrigger', 'demotrigger');
  await until(() => existsSync(file), { timeoutMs: 20_000, what: 'the trigger file' });
  writeFileSync(file, 'uptime\n');
  await terminal.run('configure');
  await until(
    async () => {
      const { hits } = await triggerOf(terminal);
      return hits === 1;
    },
    { timeoutMs: 15_000, what: 'the hit' },
  );
  await terminal.run('show triggers');
  terminal.press('C-d', 'C-d');
  await until(() => terminal.ended, { what: 'the console ends' });

  // Waiting shows in how often a line was asked for; what was asked for is the same.
  const screen = maskedScreen(terminal.screen())
    .replaceAll(/^.*\| match .*\n(?: .*\n)?/gm, '')
    .replace(/^ended with 0\n/m, '');
  assert.equal(screen, golden('get-started.txt'));
});

/** Hits of the trigger, as the console shows them. */
async function triggerOf(terminal: Terminal): Promise<{ hits: number }> {
  await terminal.run('show triggers | match demotrigger');
  const row = terminal.screen().trimEnd().split('\n').at(-2) ?? '';
  return { hits: Number(row.split('|')[4]) };
}
