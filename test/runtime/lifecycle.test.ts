import assert from 'node:assert/strict';
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { type TestContext, test } from 'node:test';
import { Lifecycle } from '../../runtime/lifecycle.ts';
import { silentLogger } from '../../runtime/logging.ts';
import { until } from '../support/wait.ts';

/** A process that starts and stops slowly, and what it printed. */
function start(t: TestContext, startMs: number, stopMs = 0): { child: ChildProcess; printed: () => string } {
  const child = fork(new URL('./support/slow-process.ts', import.meta.url), [String(startMs), String(stopMs)], {
    stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
  });
  t.after(() => child.kill('SIGKILL'));
  let text = '';
  child.stdout?.on('data', (data) => {
    text += String(data);
  });
  return { child, printed: () => text };
}

test('resources are released in reverse order, all of them, and once', async () => {
  const released: string[] = [];
  const lifecycle = new Lifecycle(silentLogger());
  lifecycle.add('first', () => void released.push('first'));
  lifecycle.add('broken', () => {
    released.push('broken');
    throw new Error('it does not stop');
  });
  lifecycle.add('last', async () => void released.push('last'));
  await Promise.all([lifecycle.stop(), lifecycle.stop()]);
  assert.deepEqual(released, ['last', 'broken', 'first']);
});

test('a child ends with its parent, also with one that ended while it was starting', async (t) => {
  const early = start(t, 500);
  const late = start(t, 0);
  await until(() => early.printed() === 'starting\n' && late.printed().includes('started'), { what: 'both processes' });
  for (const { child } of [early, late]) child.disconnect();
  const ends = await Promise.all([early, late].map(({ child }) => once(child, 'exit')));
  assert.deepEqual(ends, [
    [0, null],
    [0, null],
  ]);
  assert.match(early.printed(), /started/);
});

test('a signal stops a process in order', async (t) => {
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP'] as const) {
    const { child, printed } = start(t, 0);
    await until(() => printed().includes('started'), { what: 'the process' });
    child.kill(signal);
    assert.deepEqual(await once(child, 'exit'), [0, null], signal);
  }
});

test('a second signal ends a process that takes its time, but not a second hang-up of its terminal', async (t) => {
  const { child, printed } = start(t, 0, 60_000);
  await until(() => printed().includes('started'), { what: 'the process' });
  child.kill('SIGHUP');
  await until(() => printed().includes('stopping'), { what: 'it begins to stop' });
  // Nobody reads any more.
  child.stdout?.destroy();
  child.kill('SIGHUP');
  child.send('print');
  const [reply] = (await once(child, 'message')) as [string];
  assert.equal(reply, 'printed');
  child.kill('SIGTERM');
  assert.deepEqual(await once(child, 'exit'), [70, null]);
});
