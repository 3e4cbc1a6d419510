import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';
import { packageRoot } from '../../runtime/package-root.ts';
import { lastFirst } from '../support/last-first.ts';
import { serverFolder } from '../support/server.ts';
import { Machine } from './installer.ts';

/** The programs of the package and where they lie in it. */
const { bin, version } = JSON.parse(readFileSync(join(packageRoot(), 'package.json'), 'utf8')) as {
  bin: Record<string, string>;
  version: string;
};

/** What a lock file names: where it is installed, and which version. */
function lockOf(file: string): Map<string, string> {
  const { packages } = JSON.parse(readFileSync(file, 'utf8')) as { packages: Record<string, { version?: string }> };
  return new Map(Object.entries(packages).map(([path, { version: found }]) => [path, `${path.replace(/^.*node_modules\//, '')}@${found}`]));
}

test('the packed package holds what runs and nothing else, and installs', { timeout: 110_000 }, async (context) => {
  const t = lastFirst(context);
  const folder = serverFolder(t);
  const here = new Machine(folder, 'home');
  const env = here.environment();
  execFileSync('npm', ['pack', '--ignore-scripts', packageRoot(), '--pack-destination', folder], { cwd: folder, env, stdio: 'pipe' });
  const file = join(folder, `triggerfs-${version}.tgz`);
  const packed = execFileSync('tar', ['-tzf', file], { encoding: 'utf8' }).split('\n');
  const wanted = [
    ...Object.values(bin),
    ...readdirSync(join(packageRoot(), 'migrations'))
      .filter((name) => name.endsWith('.sql'))
      .map((name) => `migrations/${name}`),
    ...['systemd', 'installer'].flatMap((name) => readdirSync(join(packageRoot(), name)).map((file) => `${name}/${file}`)),
    ...['command', 'echo', 'skeleton', 'file/append', 'file/stream'].map((name) => `plugins/${name}/plugin.json`),
    ...[
      'plugins/file/stream/stream',
      'dist/worker-agent/exec/spawner.mjs',
      'dist/lock.json',
      'install.sh',
      'LICENSE',
      'README.md',
      'CHANGELOG.md',
    ],
  ];
  assert.deepEqual(
    wanted.filter((name) => !packed.includes(`package/${name}`)),
    [],
  );
  assert.deepEqual(
    packed.filter((name) => /^package\/(test|bench|node_modules|\.)|tsbuildinfo|\.map$/.test(name)),
    [],
  );

  const modules = join(folder, 'modules');
  const args = ['--yes', '--package', file, '--dir', modules, '--bin-dir', join(here.home, 'bin'), 'modules'];
  const first = await here.run(args);
  assert.equal(first.code, 0, first.screen);
  assert.equal(existsSync(join(modules, 'node')), false, 'the Node.js of the machine is new enough');
  for (const name of Object.keys(bin)) {
    const { status, stdout } = spawnSync(join(here.home, 'bin', name), ['-help'], { env: { PATH: '/usr/bin:/bin' }, encoding: 'utf8' });
    assert.equal(status, 0, name);
    assert.ok(stdout.includes(name), `${name}: ${stdout}`);
  }
  // Everything that was installed is what the lock file of the checkout names, however deep it lies.
  const locked = lockOf(join(packageRoot(), 'package-lock.json'));
  const installed = lockOf(join(modules, 'triggerfs', 'node_modules', '.package-lock.json'));
  for (const [path, name] of installed) assert.equal(locked.get(path), name, path);
  for (const name of ['fastify', 'zeromq', 'avvio', 'node-gyp-build']) {
    assert.ok(installed.has(`node_modules/${name}`), name);
    const { version: found } = JSON.parse(readFileSync(join(modules, 'triggerfs', 'node_modules', name, 'package.json'), 'utf8'));
    assert.equal(`${name}@${found}`, installed.get(`node_modules/${name}`));
  }
  assert.ok(!installed.has('node_modules/typescript'), 'nothing that is for development alone');

  const second = await here.run(args);
  assert.match(second.screen, /this version is in .* already; nothing to do\.\nNothing was changed/);
});

test('a package that is not what its lock file says is refused, and what was installed before stays', {
  timeout: 110_000,
}, async (context) => {
  const t = lastFirst(context);
  const folder = serverFolder(t);
  const here = new Machine(folder, 'home');
  const content = join(folder, 'content', 'package');
  mkdirSync(join(content, 'dist'), { recursive: true });
  const dependencies = { ms: '2.1.3' };
  const lock = (integrity: string): object => ({
    name: 'triggerfs',
    lockfileVersion: 3,
    requires: true,
    packages: { '': { name: 'triggerfs', dependencies }, 'node_modules/ms': { version: '2.1.3', integrity } },
  });
  writeFileSync(join(content, 'package.json'), JSON.stringify({ name: 'triggerfs', version: '0.0.0', dependencies }));
  writeFileSync(join(content, 'dist', 'lock.json'), JSON.stringify(lock(`sha512-${Buffer.alloc(64).toString('base64')}`)));
  const file = join(folder, 'changed.tgz');
  execFileSync('tar', ['-czf', file, '-C', join(folder, 'content'), 'package']);
  const modules = join(folder, 'modules');
  mkdirSync(join(modules, 'triggerfs'), { recursive: true });
  writeFileSync(join(modules, 'triggerfs', 'before'), '');
  const { code, screen } = await here.run(['--yes', '--package', file, '--dir', modules, '--bin-dir', 'none', 'modules']);
  assert.equal(code, 1, screen);
  assert.match(screen, /npm ci failed:[\s\S]*EINTEGRITY/);
  assert.ok(existsSync(join(modules, 'triggerfs', 'before')));
});
