import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { until } from '../support/wait.ts';
import type { FakeRun } from './fake-broker.ts';
import { isAlive, type Rig, startRig } from './harness.ts';

let rig: Rig;
before(async () => {
  const plugins = {
    'sleepy/sleepy': '#!/bin/sh\necho $$\nexec sleep 60\n',
    'stubborn/stubborn': '#!/bin/bash\ntrap "" TERM\necho $$\nwhile :; do sleep 1; done\n',
    'family/family': '#!/bin/bash\nsleep 60 &\necho $$ $!\nwait\n',
    'badchild/badchild': '#!/bin/bash\nbash -c \'trap "" TERM; while :; do sleep 1; done\' &\necho $$ $!\nwait\n',
    'orphan/orphan': '#!/bin/bash\nsleep 60 &\necho $!\n',
    'quiet/quiet': '#!/bin/bash\nsleep 60 </dev/null >/dev/null 2>&1 &\necho $!\n',
    'daemon/daemon': '#!/bin/bash\nsetsid sleep 3 &\necho started\n',
    'chatty/chatty': "#!/bin/bash\nsetsid bash -c 'for i in $(seq 200); do echo noise || exit; sleep 0.02; done' &\necho started\n",
    'graceful/graceful': '#!/bin/bash\ntrap "echo bye; exit 9" TERM\necho $$\nwhile :; do sleep 0.05; done\n',
    'closer/closer': '#!/bin/bash\nexec >&- 2>&-\nsleep 0.5\nexit 4\n',
    'loop/plugin.json': JSON.stringify({ name: 'loop', kind: 'resident', exec: 'loop.ts' }),
    'loop/loop.ts': `import { serve } from 'triggerfs/sdk';
      serve(async (message, reply) => {
        const what = message.text();
        if (what === 'spin') for (;;);
        if (what === 'deaf') await new Promise(() => setInterval(() => {}, 1000));
        await reply('ready');
        if (what === 'listen') await new Promise((resolve) => message.signal.addEventListener('abort', resolve));
        return what === 'listen' ? 7 : what;
      });`,
  };
  rig = await startRig({ plugins });
});
after(async () => {
  assert.deepEqual(rig.broker.violations, []);
  await rig.stop();
});

async function pids(run: FakeRun): Promise<number[]> {
  await until(() => run.stdout.includes('\n'), { what: 'the first line' });
  return run.stdout.toString().split('\n', 1)[0]?.split(' ').map(Number) ?? [];
}

async function gone(processes: readonly number[], timeoutMs = 8000): Promise<void> {
  await until(() => processes.every((pid) => !isAlive(pid) || isZombie(pid)), { what: `the end of ${processes}`, timeoutMs });
}

function isZombie(pid: number): boolean {
  try {
    return /^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return true;
  }
}

for (const plugin of ['sleepy/sleepy', 'family/family']) {
  test(`${plugin}: cancel ends the whole group`, async () => {
    const run = rig.broker.send({ plugin });
    const processes = await pids(run);
    rig.broker.cancel(run);
    const result = await run.done();
    assert.deepEqual([result.verdict, result.error, result.exitCode, result.signal], ['cancelled', 'TFS_CANCELLED', 143, 15]);
    await gone(processes, 1000);
  });

  test(`${plugin}: the timeout ends the whole group`, async () => {
    const began = performance.now();
    const run = rig.broker.send({ plugin, timeoutMs: 300 });
    const processes = await pids(run);
    const result = await run.done();
    const took = performance.now() - began;
    assert.deepEqual([result.verdict, result.error, result.exitCode], ['timeout', 'TFS_TIMEOUT', 124]);
    assert.ok(took >= 295 && took < 800, `${took} ms`);
    await gone(processes, 1000);
  });
}

test('a cancel because of the deadline is a timeout', async () => {
  const run = rig.broker.send({ plugin: 'sleepy/sleepy' });
  await pids(run);
  rig.broker.cancel(run, true);
  assert.equal((await run.done()).verdict, 'timeout');
});

test('who ignores SIGTERM gets SIGKILL, and the verdict does not wait for it', async () => {
  const began = performance.now();
  const run = rig.broker.send({ plugin: 'stubborn/stubborn', timeoutMs: 200 });
  const cancelled = rig.broker.send({ plugin: 'stubborn/stubborn' });
  const processes = [...(await pids(run)), ...(await pids(cancelled))];
  rig.broker.cancel(cancelled);
  assert.equal((await run.done()).verdict, 'timeout');
  assert.ok(performance.now() - began < 1500, `${performance.now() - began} ms`);
  const result = await cancelled.done();
  assert.deepEqual([result.verdict, result.signal], ['cancelled', 9]);
  await gone(processes, 7000);
});

test('a child that ignores SIGTERM does not outlive its parent', async () => {
  const run = rig.broker.send({ plugin: 'badchild/badchild' });
  const processes = await pids(run);
  await sleep(100);
  rig.broker.cancel(run);
  assert.equal((await run.done()).verdict, 'cancelled');
  await gone(processes, 1000);
});

test('background processes end with the plugin, whether or not they hold its output', async () => {
  for (const plugin of ['orphan/orphan', 'quiet/quiet']) {
    const began = performance.now();
    const run = await rig.broker.run({ plugin });
    assert.equal(run.result.verdict, 'ok');
    assert.ok(performance.now() - began < 1500);
    await gone(await pids(run), 1000);
  }
});

test('a daemon that left the group does not hold up the run', async () => {
  for (const plugin of ['daemon/daemon', 'chatty/chatty']) {
    const began = performance.now();
    const run = await rig.broker.run({ plugin });
    assert.equal(run.result.verdict, 'ok');
    assert.match(run.stdout.toString(), /^started/m);
    assert.ok(performance.now() - began < 2500, `${plugin}: ${performance.now() - began} ms`);
  }
});

test('what a plugin says while it is ending still arrives', async () => {
  const run = rig.broker.send({ plugin: 'graceful/graceful' });
  await pids(run);
  rig.broker.cancel(run);
  const result = await run.done();
  assert.deepEqual([result.verdict, result.exitCode], ['cancelled', 9]);
  assert.match(run.stdout.toString(), /bye/);
});

test('a plugin that closes its output is waited for', async () => {
  const { result } = await rig.broker.run({ plugin: 'closer/closer' });
  assert.deepEqual([result.verdict, result.exitCode], ['failed', 4]);
});

test('a resident run is told to end, and is ended when it does not listen', async () => {
  const listening = rig.broker.send({ plugin: 'loop', payload: 'listen' });
  await until(() => listening.bytes > 0, { what: 'the plugin to be ready' });
  rig.broker.cancel(listening);
  const result = await listening.done();
  assert.deepEqual([result.verdict, result.exitCode], ['cancelled', 7]);
  const deaf = await rig.broker.run({ plugin: 'loop', payload: 'deaf', timeoutMs: 100 });
  assert.equal(deaf.result.verdict, 'timeout');
  assert.equal((await rig.broker.run({ plugin: 'loop', payload: 'still here' })).stdout.toString(), 'readystill here');
});

test('a resident plugin that hangs is replaced', async () => {
  const spinning = rig.broker.send({ plugin: 'loop', payload: 'spin', timeoutMs: 200 });
  await until(() => spinning.started === 1, { what: 'the run to start' });
  const other = rig.broker.send({ plugin: 'loop', payload: 'other' });
  assert.equal((await spinning.done()).verdict, 'timeout');
  const result = await other.done();
  assert.deepEqual([result.verdict, result.error], ['failed', 'TFS_PLUGIN_FAILED']);
  assert.match(result.detail, /did not end a cancelled run/);
  assert.equal((await rig.broker.run({ plugin: 'loop', payload: 'again' })).stdout.toString(), 'readyagain');
});
