import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
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
    ...readdirSync(join(packageRoot(), 'systemd')).map((name) => `systemd/${name}`),
    ...['command', 'echo', 'skeleton', 'file/append', 'file/stream'].map((name) => `plugins/${name}/plugin.json`),
    ...['plugins/file/stream/stream', 'dist/worker-agent/exec/spawner.mjs', 'install.sh', 'LICENSE', 'README.md', 'CHANGELOG.md'],
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
  const second = await here.run(args);
  assert.match(second.screen, /this version is in .* already; nothing to do\.\nNothing was changed/);
});
