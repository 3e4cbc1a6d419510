import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { until } from '../support/wait.ts';
import { type Rig, startRig } from './harness.ts';

const MB = 1024 * 1024;
let rig: Rig;
before(async () => {
  const plugins = {
    'zeros/zeros': '#!/bin/sh\nexec head -c "$TRIGGERFS_ARG_BYTES" /dev/zero\n',
    'live/live': '#!/bin/sh\nfor i in 1 2 3; do echo "$i"; sleep 0.3; done\n',
    'flood/plugin.json': JSON.stringify({ name: 'flood', kind: 'resident', exec: 'flood.ts' }),
    'flood/flood.ts': `import { serve } from 'triggerfs/sdk';
      serve(async (message, reply) => {
        const block = Buffer.alloc(100_000, 'x');
        for (let left = Number(message.args.bytes); left > 0; left -= block.length) await reply(block.subarray(0, left));
      });`,
    'rude/plugin.json': JSON.stringify({ name: 'rude', kind: 'resident', exec: 'rude.ts' }),
    'rude/rude.ts': `import { serve } from 'triggerfs/sdk';
      serve((message, reply) => {
        for (let i = 0; i < 300; i += 1) reply(Buffer.alloc(10_000, 'x'));
        return 'end';
      });`,
  };
  rig = await startRig({ plugins });
});
after(async () => {
  assert.deepEqual(rig.broker.violations, []);
  await rig.stop();
});

function peakRss(): number {
  return Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${rig.pid}/status`, 'utf8'))?.[1]) * 1024;
}

test('output arrives while the plugin runs', async () => {
  const run = await rig.broker.run({ plugin: 'live/live' });
  const [first, second, third] = run.chunks.map(({ at }) => at) as [number, number, number];
  assert.equal(run.stdout.toString(), '1\n2\n3\n');
  assert.ok(second - first > 200 && third - second > 200);
});

for (const plugin of ['zeros/zeros', 'flood']) {
  test(`${plugin}: a reader that grants nothing gets exactly its credit`, async () => {
    const run = rig.broker.send({ plugin, args: { bytes: String(10 * MB) }, autoCredit: false, credit: 10_000 });
    await until(() => run.bytes === 10_000, { what: 'the credit to be used' });
    await sleep(200);
    assert.equal(run.bytes, 10_000);
    assert.equal(run.result, null);
    rig.broker.credit(run, 5);
    await until(() => run.bytes === 10_005, { what: 'five bytes more' });
    rig.broker.credit(run, 20 * MB);
    assert.equal((await run.done()).verdict, 'ok');
    assert.equal(run.bytes, 10 * MB);
  });

  test(`${plugin}: 100 MB to a slow reader keep the worker small`, async () => {
    const total = 100 * MB;
    const run = rig.broker.send({
      plugin,
      args: { bytes: String(total) },
      autoCredit: false,
      credit: 0,
      countOnly: true,
      timeoutMs: 60_000,
    });
    let granted = 0;
    while (granted < total) {
      const part = Math.min(2 * MB, total - granted);
      rig.broker.credit(run, part);
      granted += part;
      await until(() => run.bytes === granted, { what: `${granted} bytes` });
    }
    assert.equal((await run.done()).verdict, 'ok');
    assert.equal(run.bytes, total);
    assert.ok(peakRss() < 300 * MB, `peak RSS ${peakRss()}`);
  });
}

test('a plugin that has ended waits for its reader, and other runs go on', async () => {
  const slow = rig.broker.send({ plugin: 'zeros/zeros', args: { bytes: '50000' }, autoCredit: false, credit: 1 });
  await until(() => slow.bytes === 1, { what: 'the first byte' });
  await sleep(400);
  assert.equal((await rig.broker.run({ plugin: 'zeros/zeros', args: { bytes: '7' } })).bytes, 7);
  assert.equal(slow.result, null);
  rig.broker.credit(slow, 50_000);
  assert.equal((await slow.done()).verdict, 'ok');
  assert.equal(slow.bytes, 50_000);
});

test('a plugin that does not wait for its reader loses nothing', async () => {
  const run = rig.broker.send({ plugin: 'rude', autoCredit: false, credit: 100 });
  await until(() => run.bytes === 100, { what: 'the credit to be used' });
  rig.broker.credit(run, 10 * MB);
  assert.equal((await run.done()).verdict, 'ok');
  assert.equal(run.bytes, 3_000_003);
  assert.ok(run.stdout.subarray(-3).equals(Buffer.from('end')));
});

test('a run whose reader never takes its output ends with its time', async () => {
  for (const plugin of ['zeros/zeros', 'flood']) {
    const { result, bytes } = await rig.broker.run({ plugin, args: { bytes: '200000' }, autoCredit: false, credit: 10, timeoutMs: 300 });
    assert.deepEqual([result.verdict, result.error, bytes], ['timeout', 'TFS_TIMEOUT', 10], plugin);
  }
});
