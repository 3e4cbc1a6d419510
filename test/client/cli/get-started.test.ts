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
import { chapterScreen, golden, REQUEST, replayChapter, TRIGGER_FILE } from './chapter.ts';
import { cliCommand, cliEnvironment } from './program.ts';
import { NO_TERMINAL, Terminal } from './terminal.ts';

const SKIP = NO_TERMINAL || (!existsSync('/dev/fuse') && 'no /dev/fuse here');
const SECRET = 'a good password';

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

  const login = `team = "team1"\nidentity = "hp1"\nsecret = "${SECRET}"\n`;
  await replayChapter(terminal, {
    patience: { online: 20_000, hit: 15_000 },
    startWorker(token) {
      writeFileSync(config, `${main}${login}\n[triggerfs]\nmountpoint = "./mountpoint"\n\n[workers.team1.demo01]\ntoken = "${token}"\n`, {
        mode: 0o600,
      });
      program(t, 'worker-agent', ['-config', config, '-identity', 'demo01'], folder);
    },
    request: () => output(program(t, 'client', ['-config', config, ...REQUEST], folder)),
    async trigger() {
      program(t, 'fs', ['-config', config], folder);
      const file = join(folder, TRIGGER_FILE);
      await until(() => existsSync(file), { timeoutMs: 20_000, what: 'the trigger file' });
      writeFileSync(file, 'uptime\n');
    },
  });
  terminal.press('C-d');
  await until(() => terminal.ended, { what: 'the console ends' });
  assert.equal(chapterScreen(terminal).replace(/^ended with 0\n/m, ''), golden('get-started.txt'));
});
