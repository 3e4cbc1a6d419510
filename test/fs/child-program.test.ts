import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { runChild } from '../../fs/child-program.ts';

test('programs that fail say why, and do not run for ever', async () => {
  await runChild('true', [], 5_000);
  await assert.rejects(runChild('sh', ['-c', 'echo no luck >&2; exit 3'], 5_000), /sh failed \(exit code 3\): no luck/);
  await assert.rejects(runChild('sleep', ['60'], 50), /sleep failed \(SIGKILL\)/);
  await assert.rejects(runChild('no-such-program', [], 5_000), /ENOENT/);
});

test('children get no descriptor of /dev/fuse', { skip: !existsSync('/dev/fuse') && 'no /dev/fuse here' }, () => {
  const module = join(import.meta.dirname, '..', '..', 'fs', 'child-program.ts');
  const script = `const { runChild } = await import(${JSON.stringify(module)});
    await runChild('sh', ['-c', 'if ls -l /proc/self/fd | grep -q /dev/fuse; then echo inherited >&2; exit 1; fi'], 5000);`;
  const fuse = openSync('/dev/fuse', 'r+');
  const stdio = ['ignore', 'pipe', 'pipe', 'ignore', 'ignore', 'ignore', 'ignore', fuse] as const;
  const leaking = spawnSync('sh', ['-c', 'ls -l /proc/self/fd'], { stdio: [...stdio], encoding: 'utf8' });
  assert.match(leaking.stdout, /\/dev\/fuse/, 'the trap of this test');
  const { status, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', script], { stdio: [...stdio], encoding: 'utf8' });
  assert.equal(status, 0, stderr);
});
