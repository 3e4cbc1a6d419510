import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chownSync, existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { loadConfig } from '../../runtime/config/index.ts';
import { environment } from '../../runtime/environment.ts';
import { packageRoot } from '../../runtime/package-root.ts';
import { VERSION } from '../../runtime/version.ts';
import { NO_TERMINAL, Terminal } from '../client/cli/terminal.ts';
import { lastFirst } from '../support/last-first.ts';
import { System } from '../support/system.ts';
import { until } from '../support/wait.ts';
import { activationCode, Machine, SCRIPT, SECRET } from './installer.ts';

const ROOT = process.getuid?.() === 0;
const NOBODY = 65_534;
const SERVICES = ['control-plane', 'broker', 'worker', 'fs'];
const DATABASE = 'postgresql://triggerfs:between@127.0.0.1/triggerfs';
const GOLDEN = join(import.meta.dirname, 'golden');

/** Skips a test with a reason; never in CI, where .ci/run installs what is missing. */
function skip(t: TestContext, reason: string): void {
  assert.ok(!environment().ci, `CI must not skip this: ${reason}`);
  t.skip(reason);
}

/** Every file below a folder with its content, to see that nothing has changed. */
function state(...paths: string[]): Record<string, string> {
  return Object.fromEntries(
    paths.flatMap((path) => {
      const names = statSync(path).isDirectory() ? readdirSync(path).map((name) => join(path, name)) : [path];
      return names
        .filter((name) => statSync(name).isFile())
        .map((name) => [name, `${statSync(name).mtimeMs} ${readFileSync(name, 'utf8')}`]);
    }),
  );
}

/** A program of the installation, ended with the test. */
function start(t: Pick<TestContext, 'after'>, program: string, args: readonly string[], env: Record<string, string>): ChildProcess {
  const child = spawn(program, args, { env, stdio: 'ignore' });
  t.after(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill('SIGTERM');
    await once(child, 'exit');
  });
  return child;
}

test('a machine is set up', { timeout: 240_000 }, async (context) => {
  const t = lastFirst(context);
  const system = await System.start(t, { mount: false });
  const { folder, server, ready } = system;
  const code = (identity: string): Promise<string> => activationCode(() => server.stderr, identity);
  const modules = join(folder, 'modules');

  await context.test('by a script, with an old Node.js, from the checkout', async (subtest) => {
    const here = new Machine(folder, 'script');
    const calls = join(here.home, 'calls');
    here.program('node', `[ "$1" = --version ] && echo v18.19.0 && exit\nexec "${process.execPath}" "$@"`);
    here.program('curl', `printf '%s\\n' "$@" >>"${calls}"\nPATH=\${PATH#*:} exec curl "$@"`);
    const units = join(here.home, 'units');
    const options = [
      ...['--yes', '--api', ready.api, '--identity', 'hp1', '--email', 'hp1@example.com', '--team', 'team1'],
      ...['--password-file', here.file('password', SECRET), '--dir', modules, '--bin-dir', join(here.home, 'bin')],
      ...['--worker', 'demo01', '--services', SERVICES.join(','), '--unit-dir', units],
      // Root starts the worker, and plugins run as somebody who cannot read the configuration.
      ...(ROOT ? ['--worker-user', 'nobody'] : []),
    ];
    const env = { DATABASE_URL: DATABASE };
    const first = await here.run(options, { env });
    assert.equal(first.code, 75, first.screen);
    assert.match(first.screen, /Node\.js here is v18\.19\.0, older than 22\.18/);
    assert.match(first.screen, /Signup: hp1 is signed up\. The activation code is in the log of the server/);
    assert.match(first.screen, /Run this again with --code CODE\./);
    assert.equal(existsSync(here.config), false);

    const second = await here.run([...options, '--code', await code('hp1')], { env });
    assert.equal(second.code, 0, second.screen);
    assert.match(second.screen, /the account hp1 is active\.\nCreate team: hp1 owns the team team1\./);
    assert.equal(statSync(here.config).mode & 0o777, 0o600);

    const before = state(here.config, units, join(modules, 'bin'), modules);
    const third = await here.run(options, { env });
    assert.equal(third.code, 0, third.screen);
    assert.match(third.screen, /\nNothing was changed: everything is in place\.\n$/);
    assert.doesNotMatch(third.screen, /Installing/);
    assert.deepEqual(state(here.config, units, join(modules, 'bin'), modules), before);

    const seen = first.screen + second.screen + third.screen + readFileSync(calls, 'utf8');
    for (const secret of [SECRET, 'good', 'between', 'eyJ']) assert.ok(!seen.includes(secret), `${secret} was shown, or is in arguments`);

    // What was installed answers, on its own Node.js, also with nothing on the search path.
    const bare = { HOME: here.home, PATH: '/usr/bin:/bin' };
    start(t, join(modules, 'bin', 'triggerfs-worker'), ['-config', here.config], bare);
    const ask = (plugin: string, command: string): { stdout: string; status: number | null } =>
      spawnSync(
        join(modules, 'bin', 'triggerfs-client'),
        ['-service', 'demo01', '-plugin', plugin, '-raw', '-timeout', '10s', '-command', command],
        { env: bare, cwd: here.home, encoding: 'utf8' },
      );
    await until(() => ask('echo', 'installed').stdout === 'installed', { timeoutMs: 20_000, what: 'an answer of the worker' });
    assert.match(ask('command/command', 'node --version').stdout, /^v(2[2-9]|[3-9]\d)\./);
    if (ROOT) {
      assert.equal(ask('command/command', 'id -un').stdout, 'nobody\n');
      assert.notEqual(ask('command/command', `cat ${here.config}`).status, 0);
    }

    if (spawnSync('systemd-analyze', ['--version']).error) return skip(subtest, 'install systemd (Debian package of this name)');
    const files = SERVICES.map((name) => join(units, `triggerfs-${name}.service`));
    const verified = spawnSync('systemd-analyze', [ROOT ? '--system' : '--user', 'verify', ...files], {
      env: here.environment({ XDG_RUNTIME_DIR: here.home }),
      encoding: 'utf8',
    });
    assert.deepEqual({ status: verified.status, said: verified.stderr }, { status: 0, said: '' });
  });

  await context.test('by hand at plain prompts', async (subtest) => {
    if (NO_TERMINAL) return skip(subtest, NO_TERMINAL);
    const here = new Machine(folder, 'plain');
    const terminal = new Terminal(t, ['bash', SCRIPT, '--plain'], { env: here.environment(), columns: 120, cwd: here.home });
    await terminal.see(/Choice:\s*$/);
    await terminal.run('1', /Address of the control-plane \[.*\]:$/);
    await terminal.run(ready.api, /Identity:$/);
    await terminal.run('hp2', /E-mail:$/);
    await terminal.run('hp2@example.com', /New password \(8 to 72 bytes\):$/);
    await terminal.run(SECRET, /Once more:$/);
    await terminal.run(SECRET, /Activation code .*:$/);
    await terminal.run('AAAA-AAAA', /Activation code .*:$/);
    await terminal.run(await code('hp2'), /Create a team now\? \[Y\/n\]:$/);
    await terminal.run('y', /Name of the team:$/);
    await terminal.run('team2', /Choice:$/);
    await terminal.run('5', /Choice:$/);
    await terminal.run('5', /Choice:$/);
    terminal.type('7');
    terminal.press('Enter');
    await until(() => terminal.ended, { what: 'the installer ends' });
    assert.equal(terminal.exitCode, 0);
    const shown = terminal
      .screen()
      .split('\n')
      .map((line) => line.trimEnd())
      .join('\n')
      .replace(/^ended with 0\n[\s\S]*$/m, '')
      .replaceAll(ready.api, 'http://127.0.0.1:8642')
      .replaceAll(here.home, '~')
      .replaceAll(/^(Activation code .*: )[A-Z0-9]{4}-[A-Z0-9]{4}$/gm, '$1(code)');
    assert.equal(shown, readFileSync(join(GOLDEN, 'plain.txt'), 'utf8'));
    const { main } = loadConfig(environment(), here.config);
    assert.deepEqual({ ...main }, { ...main, api: ready.api, team: 'team2', identity: 'hp2', secret: SECRET });
  });

  for (const [ui, other, identity, team] of [
    ['dialog', 'whiptail', 'hp3', 'team3'],
    ['whiptail', 'dialog', 'hp4', 'team4'],
  ] as const) {
    await context.test(`by hand in ${ui}`, async (subtest) => {
      if (NO_TERMINAL) return skip(subtest, NO_TERMINAL);
      if (spawnSync(ui, ['--version']).error) return skip(subtest, `install ${ui} (Debian package of this name)`);
      const here = new Machine(folder, ui);
      here.without(other);
      const terminal = new Terminal(t, ['bash', SCRIPT, '--api', ready.api], {
        env: here.environment(),
        columns: 100,
        rows: 30,
        cwd: here.home,
      });
      const answer = async (question: RegExp, text: string): Promise<void> => {
        await until(() => question.test(terminal.view()), { what: `a window with ${question}` });
        terminal.type(text);
        terminal.press('Enter');
      };
      await answer(/1 +Signup[\s\S]*7 +Quit/, '1');
      await answer(/Identity/, identity);
      await answer(/E-mail/, `${identity}@example.com`);
      await answer(/New password/, SECRET);
      await answer(/Once more/, SECRET);
      await terminal.see(/Activation code/);
      await answer(/Activation code/, await code(identity));
      await answer(/Create a team now/, '');
      await answer(/Name of the team/, team);
      await terminal.see(new RegExp(`${identity} owns the team ${team}`));
      assert.ok(!terminal.screen().includes(SECRET));
      terminal.press('Enter');
      await until(() => /7 +Quit/.test(terminal.view()) && !terminal.view().includes('owns the team'), {
        what: 'the menu, in place of the report',
      });
      for (let i = 0; i < 6; i += 1) terminal.press('Down');
      terminal.press('Enter');
      await until(() => terminal.ended, { what: 'the installer ends' });
      assert.equal(terminal.exitCode, 0);
    });
  }

  await context.test('piped into bash, which asks at the terminal', async (subtest) => {
    if (NO_TERMINAL) return skip(subtest, NO_TERMINAL);
    const here = new Machine(folder, 'piped');
    const env = here.environment();
    execFileSync('npm', ['pack', '--ignore-scripts', packageRoot(), '--pack-destination', here.home], {
      cwd: here.home,
      env,
      stdio: 'pipe',
    });
    const files = new Map([
      ['/install.sh', SCRIPT],
      ['/triggerfs.tgz', join(here.home, `triggerfs-${VERSION}.tgz`)],
    ]);
    const web = createServer((request, response) => void response.end(readFileSync(files.get(request.url ?? '') ?? SCRIPT)));
    web.listen(0, '127.0.0.1');
    await once(web, 'listening');
    t.after(() => web.close());
    const address = `http://127.0.0.1:${(web.address() as AddressInfo).port}`;
    const line = `set -o pipefail; curl -fsSL ${address}/install.sh | bash -s -- --plain --dir "${join(here.home, 'modules')}" --bin-dir none`;
    const terminal = new Terminal(t, ['bash', '-c', line], { env, columns: 120, cwd: here.home });
    await terminal.see(/Packed triggerFS, a file or an address:\s*$/);
    await terminal.run(`${address}/install.sh`, /Packed triggerFS, a file or an address:$/);
    await terminal.see(/install\.sh is no packed npm package/);
    await terminal.run(`${address}/triggerfs.tgz`, /Choice:$/);
    terminal.type('4');
    terminal.press('Enter');
    await terminal.see(/Modules: installed into .*modules\.[\s\S]*Choice:\s*$/, 60_000);
    await terminal.run('1', /Address of the control-plane \[.*\]:$/);
    await terminal.run(ready.api, /Identity:$/);
    await terminal.run('hp5', /E-mail:$/);
    await terminal.run('hp5@example.com', /New password \(8 to 72 bytes\):$/);
    await terminal.run(SECRET, /Once more:$/);
    await terminal.run(SECRET, /Activation code .*:$/);
    await terminal.run(await code('hp5'), /Create a team now\? \[Y\/n\]:$/);
    await terminal.run('n', /Choice:$/);
    terminal.type('7');
    terminal.press('Enter');
    await until(() => terminal.ended, { what: 'the installer ends' });
    assert.equal(terminal.exitCode, 0);
    assert.ok(!terminal.screen().includes(SECRET));
  });

  await context.test('by somebody who is not root', async (subtest) => {
    if (!ROOT) return skip(subtest, 'the other tests ran without root');
    const here = new Machine(folder, 'user');
    chownSync(here.home, NOBODY, NOBODY);
    const units = join(here.home, '.config', 'systemd', 'user');
    const token = here.file('token', '5f0ad7c4-6b9c-4d3e-9a45-0d7b2a8a2f31');
    chownSync(token, NOBODY, NOBODY);
    const options = ['--yes', '--api', ready.api, '--team', 'team1', '--worker', 'demo02', '--token-file', token];
    const args = [...options, '--dir', modules, '--services', 'worker,fs', 'config', 'services'];
    const first = await here.run(args, { user: NOBODY });
    assert.equal(first.code, 0, first.screen);
    assert.match(first.screen, /systemctl --user daemon-reload && systemctl --user enable --now triggerfs-worker\.service/);
    const unit = readFileSync(join(units, 'triggerfs-worker.service'), 'utf8');
    assert.ok(unit.includes(`ExecStart=${modules}/bin/triggerfs-worker -config ${here.config}\n`), unit);
    assert.match(unit, /WantedBy=default\.target\n$/);
    assert.doesNotMatch(unit, /network-online|Protect|@/);
    const second = await here.run(args, { user: NOBODY });
    assert.match(second.screen, /Nothing was changed/);
    const verified = spawnSync('systemd-analyze', ['--user', 'verify', join(units, 'triggerfs-fs.service')], {
      env: here.environment({ XDG_RUNTIME_DIR: here.home }),
      encoding: 'utf8',
    });
    if (verified.error === undefined) assert.equal(verified.stderr, '');
  });
});
