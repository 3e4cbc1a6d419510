import assert from 'node:assert/strict';
import { appendFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import test, { type TestContext } from 'node:test';
import { environment } from '../../runtime/environment.ts';
import { VERSION } from '../../runtime/version.ts';
import { chapterScreen, golden, REQUEST, replayChapter, TRIGGER_FILE } from '../client/cli/chapter.ts';
import { Terminal } from '../client/cli/terminal.ts';
import { lastFirst } from '../support/last-first.ts';
import { createEmptyDatabase } from '../support/postgres.ts';
import { System } from '../support/system.ts';
import { until } from '../support/wait.ts';
import { BareMachine, ROOT_HOME, skippedWithoutMachine } from './bare-machine.ts';
import { activationCode, SECRET } from './installer.ts';

const UNITS = ['control-plane', 'broker', 'worker', 'fs'];

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => resolve(typeof address === 'object' && address !== null ? address.port : 0));
    });
  });
}

/** A shell of the machine's root in a terminal. */
function shell(t: Pick<TestContext, 'after'>, machine: BareMachine): Terminal {
  const bash = [...machine.command({ PS1: 'root@bare:\\w# ', SHELL: '/bin/bash', HISTFILE: '' }), 'bash', '--norc', '-i'];
  // Wide enough for the tables of the console, as in its own tests.
  return new Terminal(t, [...bash, '-c', 'cd; exec bash --norc -i'], {
    env: { PATH: environment().path, TERM: 'xterm' },
    columns: 230,
    rows: 60,
  });
}

/** What the installer showed, from its download to its end, with what differs from run to run masked. */
function installerScreen(screen: string, api: string): string {
  return `${screen
    .split('\n')
    .map((line) => line.trimEnd())
    .join('\n')
    .replaceAll(api, 'http://127.0.0.1:8642')
    .replaceAll(`${ROOT_HOME}/`, '~/')
    .replaceAll(/\d+\.\d+\.\d+(?= into)|(?<=triggerfs-)\d+\.\d+\.\d+/g, 'X.Y.Z')
    .replaceAll(/^(Activation code .*: )[A-Z0-9]{4}-[A-Z0-9]{4}$/gm, '$1(code)')
    .trim()}\n`;
}

test('a machine without anything installed', { timeout: 600_000 }, async (context) => {
  if (skippedWithoutMachine(context)) return;
  const t = lastFirst(context);
  const machine = await BareMachine.boot(t);
  const system = await System.start(t, { mount: false });
  const { api } = system.ready;
  machine.download(system.folder);

  await context.test('becomes one that runs the Get Started chapter, from the installer to one hit', async () => {
    for (const program of ['node', 'npm', 'curl', 'dialog', 'whiptail', 'gcc', 'fusermount']) {
      assert.notEqual(machine.run(`command -v ${program}`).status, 0, `${program} is there already`);
    }
    const terminal = shell(t, machine);
    await terminal.see(/root@bare:~# *\n*$/);
    await terminal.run(`tar -xzf triggerfs-${VERSION}.tgz && cd package`);
    await terminal.run('./install.sh', /Choice:$/);
    await terminal.run('1', /Install what is missing with apt-get: curl ca-certificates\? \[Y\/n\]:$|curl\? \[Y\/n\]:$/);
    terminal.type('y');
    terminal.press('Enter');
    await terminal.see(/Address of the control-plane \[.*\]: *\n*$/, 180_000);
    await terminal.run(api, /Identity:$/);
    await terminal.run('hp1', /E-mail:$/);
    await terminal.run('hp@example.com', /New password \(8 to 72 bytes\):$/);
    await terminal.run(SECRET, /Once more:$/);
    await terminal.run(SECRET, /Activation code .*:$/);
    const code = await activationCode(() => system.server.stderr, 'hp1');
    await terminal.run(code, /Create a team now\? \[Y\/n\]:$/);
    await terminal.run('', /Name of the team:$/);
    await terminal.run('team1', /Choice:$/);
    await terminal.run('4', /Folder for the modules \[.*\]:$/);
    terminal.press('Enter');
    await terminal.see(/Modules: installed into \/opt\/triggerfs\.[\s\S]*Choice: *\n*$/, 240_000);
    await terminal.run('5', /Choice:$/);
    await terminal.run('7', /package#$/);
    assert.equal(installerScreen(terminal.screen(), api), readFileSync(join(import.meta.dirname, 'golden', 'bare.txt'), 'utf8'));
    assert.equal(machine.do('stat -c "%a %U" triggerfs.toml'), '600 root\n');

    terminal.type('clear; cd');
    terminal.press('Enter');
    await terminal.see(/^root@bare:~# *\n*$/);
    await getStarted(t, machine, terminal);
  });

  await context.test('is set up through sudo by an ordinary user', () => {
    machine.do(`useradd --create-home --shell /bin/bash hp && echo 'hp ALL=(ALL) NOPASSWD: ALL' >/etc/sudoers.d/hp && cp -r package /srv/`);
    const as = (line: string): string => machine.do(`su -l hp -c '${line}' 2>&1`);
    // The whole machine's programs, and the person's configuration.
    const through = as(`sudo /srv/package/install.sh --yes --api ${api} --team team1 modules config`);
    assert.match(through, /Modules: this version is in \/opt\/triggerfs already[\s\S]*Configuration: wrote \/home\/hp\/triggerfs\.toml\./);
    assert.equal(machine.do('stat -c "%a %U %G" ~hp/triggerfs.toml'), '600 hp hp\n');
    // What is missing comes through sudo too.
    machine.do('dpkg --remove --force-depends curl');
    const fetched = as(
      `echo "a good password" >password && /srv/package/install.sh --yes --api ${api} --identity hp2 --email hp2@example.com --password-file password signup`,
    );
    assert.match(
      fetched,
      /Installing curl ca-certificates \.\.\.\nSignup: hp2 is signed up\.|Installing curl \.\.\.\nSignup: hp2 is signed up\./,
    );
  });

  await context.test('runs the units under systemd: they serve, come back after SIGKILL and stop in order', async (subtest) => {
    try {
      await runUnits(subtest, machine);
    } catch (cause) {
      const { stdout } = machine.run(`journalctl --no-pager -o cat -n 60 -u 'triggerfs-*'`);
      throw new Error(`${(cause as Error).message}\nThe units said:\n${stdout}`, { cause });
    }
  });
});

/** Installs the units on a database of their own, as somebody with a script would, and treats them badly. */
async function runUnits(t: TestContext, machine: BareMachine): Promise<void> {
  const own = lastFirst(t);
  const database = await createEmptyDatabase(own);
  const [port, broker, gateway] = [await freePort(), await freePort(), await freePort()];
  const url = `http://127.0.0.1:${port}`;
  const folder = join(machine.root, 'etc', 'triggerfs');
  mkdirSync(folder);
  writeFileSync(
    join(folder, 'triggerfs.toml'),
    `[main]\napi = "${url}"\n\n[control-plane]\nport = ${port}\n\n[broker]\nport = ${broker}\ngateway_port = ${gateway}\n`,
    { mode: 0o600 },
  );
  writeFileSync(join(folder, 'password'), `${SECRET}\n`, { mode: 0o600 });
  const install = (options: string): string =>
    machine.do(`DATABASE_URL='${database}' /srv/package/install.sh --yes --config /etc/triggerfs/triggerfs.toml ${options} 2>&1`);
  const show = (unit: string, property: string): string => machine.do(`systemctl show -p ${property} --value triggerfs-${unit}`).trim();
  // It stops before the database goes.
  own.after(() => machine.run(`systemctl stop ${UNITS.map((name) => `triggerfs-${name}`).join(' ')}`));

  assert.match(
    install('--services control-plane,broker services'),
    /systemd: started triggerfs-control-plane\.service triggerfs-broker\.service\./,
  );
  const person = `--identity hp3 --password-file /etc/triggerfs/password`;
  await until(() => machine.run(`curl -fs ${url}/healthz`).status === 0, { timeoutMs: 60_000, what: 'the control-plane serves' });
  const signed = machine.run(
    `/srv/package/install.sh --yes --config /etc/triggerfs/triggerfs.toml ${person} --email hp@example.com signup`,
  );
  assert.equal(signed.status, 0, signed.stdout + signed.stderr);
  const code = await activationCode(() => machine.do('journalctl --no-pager -o cat -u triggerfs-control-plane'), 'hp3');
  install(`${person} --team team1 --code ${code} activate team`);
  install(`${person} --team team1 --worker demo01 --services worker,fs config`);
  assert.match(install('--services worker,fs services'), /systemd: started triggerfs-worker\.service triggerfs-fs\.service\./);

  const ask = (command: string): string =>
    machine.run(
      `triggerfs-client -config /etc/triggerfs/triggerfs.toml -service demo01 -plugin command/command -raw -timeout 10s -command '${command}'`,
    ).stdout;
  const serves = (what: string): Promise<unknown> =>
    until(() => ask('id -un') === 'triggerfs\n' && machine.run('mountpoint -q /mnt/triggerfs && ls /mnt/triggerfs').status === 0, {
      timeoutMs: 60_000,
      what,
    });
  await serves('worker and mount answer');
  assert.equal(ask('cat /etc/triggerfs/triggerfs.toml; echo $?'), '1\n');
  machine.do('mkdir /mnt/triggerfs/newtrigger');
  for (const name of UNITS) {
    assert.equal(machine.do(`systemctl is-enabled triggerfs-${name}`), 'enabled\n');
    const user = machine.do(`ps -o user= -p ${show(name, 'MainPID')}`).trim();
    assert.equal(user === 'root', name === 'worker' || name === 'fs', `${name} runs as ${user}`);
  }

  for (const name of UNITS) {
    const pid = show(name, 'MainPID');
    const restarts = Number(show(name, 'NRestarts'));
    machine.do(`kill -9 ${pid}`);
    await until(() => show(name, 'ActiveState') === 'active' && !['0', pid].includes(show(name, 'MainPID')), {
      timeoutMs: 30_000,
      what: `${name} is started again`,
    });
    assert.equal(Number(show(name, 'NRestarts')), restarts + 1);
  }
  await serves('all answer again');
  machine.do('rmdir /mnt/triggerfs/newtrigger');

  for (const name of UNITS.toReversed()) {
    machine.do(`systemctl stop triggerfs-${name}`);
    assert.deepEqual([name, show(name, 'ActiveState'), show(name, 'Result')], [name, 'inactive', 'success']);
  }
  assert.notEqual(machine.run('mountpoint -q /mnt/triggerfs').status, 0);
  assert.equal(machine.run('ps -eo args | grep "[/]opt/triggerfs/triggerfs"').stdout, '');
  // All at once they stop and start in their order too.
  const all = UNITS.map((name) => `triggerfs-${name}`).join(' ');
  machine.do(`systemctl start ${all}`);
  await serves('all answer after a start at once');
  machine.do(`systemctl stop ${all}`);
  for (const name of UNITS) assert.deepEqual([name, show(name, 'Result')], [name, 'success']);
}

/** The chapter in the console; the programs of other terminals run in a second one. */
async function getStarted(t: Pick<TestContext, 'after'>, machine: BareMachine, terminal: Terminal): Promise<void> {
  const other = shell(t, machine);
  await other.see(/root@bare:~# *\n*$/);
  await terminal.run('triggerfs-cli');
  await replayChapter(terminal, {
    patience: { online: 40_000, hit: 30_000 },
    async startWorker(token) {
      appendFileSync(join(machine.root, ROOT_HOME, 'triggerfs.toml'), `\n[workers.team1.demo01]\ntoken = "${token}"\n`);
      await other.run('triggerfs-worker -identity demo01 >worker.log 2>&1 &');
    },
    async request() {
      await other.run(`clear; triggerfs-client ${REQUEST.join(' ')}`);
      return other.view().replace(/^root@bare.*$/gm, '');
    },
    async trigger() {
      await other.run('triggerfs >fs.log 2>&1 &');
      await until(() => machine.run(`test -e ${TRIGGER_FILE}`).status === 0, { timeoutMs: 40_000, what: 'the trigger file' });
      await other.run(`echo uptime > ${TRIGGER_FILE}`);
    },
  });
  terminal.press('C-d');
  await terminal.see(/root@bare:~# *\n*$/);
  await other.run('kill %1 %2; wait');
  assert.ok(existsSync(join(machine.root, ROOT_HOME, 'worker.log')));

  // From where the console's own test of the chapter has its team.
  const begin = '(team1) hp@example.com$ configure\n(team1) hp@example.com$ configure# set workers';
  const from = (screen: string): string => screen.slice(screen.indexOf(begin));
  const shown = chapterScreen(terminal).replace(/^root@bare:~# *\n/m, '');
  assert.equal(from(shown), from(golden('get-started.txt')));
}
