import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { lastFirst } from '../support/last-first.ts';
import { processesNaming, runProgram, ServerProcess, serverFolder } from '../support/server.ts';
import { until } from '../support/wait.ts';

const ROOT = join(import.meta.dirname, '..', '..');
const CAN_MOUNT = existsSync('/dev/fuse') && process.getuid?.() === 0;

test('what npm ci builds runs without the sources', async (context) => {
  const t = lastFirst(context);
  const build = spawnSync(process.execPath, [join(ROOT, 'scripts', 'prepare.mjs')], { encoding: 'utf8' });
  assert.equal(build.status, 0, build.stdout);
  const folder = serverFolder(t);
  const mountpoint = CAN_MOUNT ? join(folder, 'mnt') : 'none';
  const ports = ['--api-port', '0', '--broker-port', '0', '--gateway-port', '0'];
  const server = new ServerProcess(t, ['--json', '--data-dir', join(folder, 'data'), ...ports, '--mountpoint', mountpoint], {
    program: 'dist/server/bin.js',
  });
  const { config } = await server.ready();
  for (const pid of processesNaming(config)) {
    assert.match(readFileSync(`/proc/${pid}/cmdline`, 'utf8'), /\/dist\//, 'every part comes from dist');
  }
  const call = (plugin: string, ...rest: string[]): string[] => ['-config', config, '-service', 'demo', '-plugin', plugin, '-raw', ...rest];
  assert.equal((await runProgram('dist/client/bin.js', call('command/command', '-command', 'echo built'))).stdout, 'built\n');
  assert.equal((await runProgram('dist/client/bin.js', call('echo'), 'resident')).stdout, 'resident');
  if (!CAN_MOUNT) return;
  writeFileSync(join(folder, 'mnt', 'demo', 'log'), 'a line\n');
  await until(() => existsSync(join(folder, 'data', 'demo.log')), { what: 'demo.log' });
});

test('every program explains itself, from the sources and from dist', async () => {
  const { bin } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as { bin: Record<string, string> };
  for (const [name, built] of Object.entries(bin)) {
    const source = built.replace('dist/', '').replace('.js', '.ts');
    for (const file of [built, source]) {
      const { code, stdout, stderr } = await runProgram(file, ['-help']);
      assert.equal(code, 0, `${file}: ${stderr}`);
      assert.ok(stdout.includes(name) && stdout.includes('-help'), `${file}: ${stdout}`);
      const wrong = await runProgram(file, ['-no-such-option']);
      assert.equal(wrong.code, 64, file);
      assert.match(wrong.stderr, /unknown option -no-such-option/, file);
    }
  }
});
