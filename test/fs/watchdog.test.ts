import assert from 'node:assert/strict';
import { fork } from 'node:child_process';
import { once } from 'node:events';
import { test } from 'node:test';

test('a process whose event loop hangs is ended, one that works is left alone', async (t) => {
  const child = fork(new URL('./support/hanging-process.ts', import.meta.url), { stdio: ['ignore', 'ignore', 'pipe', 'ipc'] });
  t.after(() => child.kill('SIGKILL'));
  let errors = '';
  child.stderr?.on('data', (data) => {
    errors += String(data);
  });
  await once(child, 'message');
  const hangingSince = performance.now();
  const [code, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null];
  assert.deepEqual([code, signal], [null, 'SIGKILL']);
  assert.ok(performance.now() - hangingSince < 6_000);
  assert.match(errors, /the event loop hangs for 2 s/);
});
