import assert from 'node:assert/strict';
import { execFileSync, type SpawnSyncReturns, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  appendFileSync,
  chmodSync,
  copyFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { environment } from '../../runtime/environment.ts';
import { packageRoot } from '../../runtime/package-root.ts';
import { until } from '../support/wait.ts';
import { Machine, npmSettings } from './installer.ts';

/** Survives the run, so that the next one need not download it again. */
const CACHE = '/var/cache/triggerfs-test';
/** What a minimal Debian or Ubuntu server has beyond apt; nothing that triggerFS needs but a kernel and systemd. */
const PACKAGES = ['ca-certificates', 'dbus', 'procps', 'sudo', 'systemd', 'systemd-sysv'];
/** Home of the machine's root. */
export const ROOT_HOME = '/root';
const CA_FILE = '/etc/npm-ca.crt';

/** Skips a test where there can be no bare machine; never in CI, where .ci/run installs what is missing. */
export function skippedWithoutMachine(t: TestContext): boolean {
  const reason = noBareMachine();
  if (reason === false) return false;
  assert.ok(!environment().ci, `CI must not skip this: ${reason}`);
  t.skip(reason);
  return true;
}

function noBareMachine(): string | false {
  if (process.getuid?.() !== 0) return 'a bare machine needs root';
  for (const program of ['debootstrap', 'systemd-nspawn', 'nsenter', 'tmux']) {
    if (spawnSync('sh', ['-c', `command -v ${program}`]).status !== 0) return `${program} is not installed`;
  }
  return false;
}

/**
 * A machine of its own beside this one: a minimal Debian or Ubuntu (that of this machine), booted by systemd-nspawn with its own
 * processes and mounts. Network and clock are those of this machine, and so is where npm gets packages from.
 */
export class BareMachine {
  /** Its file system, seen from here. */
  readonly root: string;
  readonly #leader: number;

  private constructor(root: string, leader: number) {
    this.root = root;
    this.#leader = leader;
  }

  /** Boots one that ends with the test. */
  static async boot(t: Pick<TestContext, 'after'>): Promise<BareMachine> {
    const base = makeBase();
    const root = mkdtempSync(join(CACHE, 'machine-'));
    t.after(() => rmSync(root, { recursive: true, force: true, maxRetries: 3 }));
    execFileSync('cp', ['-a', '--reflink=auto', `${base}/.`, root]);
    settle(root);
    // Packages that were fetched once, by apt and by npm, are not fetched again.
    const { home = ROOT_HOME, path } = environment();
    const [archives, own] = [join(CACHE, 'archives'), join(root, 'var', 'cache', 'apt', 'archives')];
    linkPackages(archives, own);
    t.after(() => linkPackages(own, archives));
    mkdirSync(join(home, '.npm'), { recursive: true });
    const binds = ['/dev/fuse', `${join(home, '.npm')}:${join(ROOT_HOME, '.npm')}`];
    const nspawn = spawn(
      'systemd-nspawn',
      [
        '-D',
        root,
        '-b',
        '-q',
        '--register=no',
        '--keep-unit',
        '--console=pipe',
        '--hostname=bare',
        ...binds.map((bind) => `--bind=${bind}`),
      ],
      {
        // The control groups of today, also where this machine has the old ones: systemd sees at once that a unit has no process left.
        env: { PATH: path, SYSTEMD_NSPAWN_UNIFIED_HIERARCHY: '1' },
        stdio: ['ignore', 'ignore', 'pipe'],
        detached: true,
      },
    );
    let said = '';
    nspawn.stderr?.setEncoding('utf8').on('data', (text: string) => {
      said += text;
    });
    t.after(async () => {
      if (nspawn.exitCode !== null || nspawn.signalCode !== null) return;
      const ended = once(nspawn, 'exit');
      for (const pid of children(nspawn.pid)) process.kill(pid, 'SIGKILL');
      await ended;
    });
    const leader = await until(() => (nspawn.exitCode === null ? children(nspawn.pid).find(isInit) : Number.NaN), {
      what: 'the first process',
    });
    if (Number.isNaN(leader)) throw new Error(`systemd-nspawn: ${said}`);
    const machine = new BareMachine(root, leader);
    await until(() => /^(running|degraded)$/m.test(machine.run('systemctl is-system-running').stdout), {
      timeoutMs: 60_000,
      what: `the machine has booted (${said})`,
    });
    return machine;
  }

  /** Puts what people download, triggerFS packed by npm, into the home of the machine's root, as `npm pack` names it. */
  download(folder: string): void {
    const here = new Machine(folder, 'packer');
    execFileSync('npm', ['pack', '--ignore-scripts', packageRoot(), '--pack-destination', join(this.root, ROOT_HOME)], {
      cwd: here.home,
      env: here.environment(),
      stdio: 'pipe',
    });
  }

  /** What begins a command of the machine's root, with nothing of the environment here. */
  command(extra: Readonly<Record<string, string>> = {}): string[] {
    const variables = {
      ...extra,
      HOME: ROOT_HOME,
      PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
      TERM: 'xterm',
      LANG: 'C.UTF-8',
    };
    const settings = Object.entries(variables).map(([name, value]) => `${name}=${value}`);
    return ['nsenter', '-t', String(this.#leader), '-a', 'env', '-i', ...settings];
  }

  /** Runs a line of shell as root, to its end. */
  run(line: string, timeoutMs = 120_000): SpawnSyncReturns<string> {
    const [program = '', ...rest] = this.command();
    return spawnSync(program, [...rest, 'sh', '-c', `cd && ${line}`], { encoding: 'utf8', timeout: timeoutMs });
  }

  /** Runs a line of shell as root. Throws with what it said when it fails. */
  do(line: string, timeoutMs?: number): string {
    const { status, stdout, stderr } = this.run(line, timeoutMs);
    if (status !== 0) throw new Error(`${line} ended with ${status}: ${stdout}${stderr}`);
    return stdout;
  }
}

/** Packages of apt in another folder too, which is not shared: apt locks its own, also against other machines. */
function linkPackages(from: string, to: string): void {
  for (const folder of [from, to]) mkdirSync(folder, { recursive: true });
  for (const name of readdirSync(from).filter((file) => file.endsWith('.deb'))) {
    try {
      linkSync(join(from, name), join(to, name));
    } catch (cause) {
      if ((cause as NodeJS.ErrnoException).code !== 'EEXIST') throw cause;
    }
  }
}

/** The minimal system that machines are copied from, made when it is missing. */
function makeBase(): string {
  const release = readFileSync('/etc/os-release', 'utf8');
  const codename = /^VERSION_CODENAME=(.+)$/m.exec(release)?.[1] ?? 'stable';
  const sites = execFileSync('apt-get', ['indextargets', '--format', '$(SITE) $(CODENAME)'], { encoding: 'utf8' }).split('\n');
  // Without one, debootstrap knows where its release is.
  const mirror = sites
    .map((line) => line.split(' '))
    .filter(([, name]) => name === codename)
    .map(([site = '']) => site)
    .slice(0, 1);
  const base = join(CACHE, `base-${codename}-${PACKAGES.join('-')}`);
  if (existsSync(base)) return base;
  mkdirSync(CACHE, { recursive: true });
  const made = mkdtempSync(join(CACHE, 'new-'));
  execFileSync('debootstrap', ['--variant=minbase', `--include=${PACKAGES.join(',')}`, codename, made, ...mirror], { stdio: 'pipe' });
  // Everybody may pass through the root folder of a machine.
  chmodSync(made, 0o755);
  try {
    renameSync(made, base);
  } catch {
    // Another run was quicker.
    rmSync(made, { recursive: true, force: true });
  }
  return base;
}

/** What somebody who sets a machine up in this network does first: a name, and how npm reaches its registry. */
function settle(root: string): void {
  writeFileSync(join(root, 'etc', 'hostname'), 'bare\n');
  // What is installed need not outlive a power cut.
  writeFileSync(join(root, 'etc', 'dpkg', 'dpkg.cfg.d', 'unsafe-io'), 'force-unsafe-io\n');
  appendFileSync(join(root, 'etc', 'hosts'), '127.0.0.1 localhost bare\n');
  const { npm_config_cafile: cafile, npm_config_registry: registry } = npmSettings();
  const lines = [
    registry === undefined ? '' : `registry=${registry}`,
    cafile === undefined ? '' : `cafile=${CA_FILE}`,
    'prefer-offline=true',
  ];
  writeFileSync(join(root, 'root', '.npmrc'), `${lines.filter((line) => line !== '').join('\n')}\n`);
  if (cafile !== undefined) copyFileSync(cafile, join(root, CA_FILE));
}

/** systemd-nspawn has other children before. */
function isInit(pid: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/comm`, 'utf8') === 'systemd\n';
  } catch {
    return false;
  }
}

function children(pid: number | undefined): number[] {
  try {
    const list = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim();
    return list === '' ? [] : list.split(' ').map(Number);
  } catch {
    return [];
  }
}
