import assert from 'node:assert/strict';
import { mkdirSync, rmSync, symlinkSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { until } from '../support/wait.ts';
import { type Rig, startRig } from './harness.ts';

let rig: Rig;
before(async () => {
  const plugins = {
    'cat/cat': '#!/bin/sh\nexec cat\n',
    'hold/hold': '#!/bin/sh\necho holding\nexec sleep 60\n',
    'other/other': '#!/bin/sh\n',
    'sum/plugin.json': JSON.stringify({ name: 'sum', version: '1.2.3', kind: 'exec', exec: ['sh', './sum.sh'] }),
    'sum/sum.sh': 'echo sum\n',
    'broken/plugin.json': '{ "name": "broken", "kind": "exec", "exec": "run", "colour": "red" }',
    'wrong/plugin.json': JSON.stringify({ name: 'elsewhere', kind: 'exec', exec: 'sh' }),
    'deep/inner/plugin.json': JSON.stringify({ name: 'deep/inner', version: '2', kind: 'exec', exec: 'run' }),
    'deep/inner/run': '#!/bin/sh\necho deep\n',
    single: '#!/bin/sh\necho single\n',
  };
  const allowed = [
    'cat/cat',
    'hold/hold',
    'sum',
    'link/link',
    'broken',
    'wrong',
    'deep/inner',
    'single',
    'late/late',
    'escape',
    'absolute',
  ];
  rig = await startRig({ plugins, workers: ['concurrency = 2', `plugins = ${JSON.stringify(allowed)}`] });
});
after(async () => {
  assert.deepEqual(rig.broker.violations, []);
  await rig.stop();
});

test('the announcement lists the allowed plugins that can be used', async () => {
  const announce = await rig.broker.announced();
  assert.equal(announce.concurrency, 2);
  assert.deepEqual(announce.services, ['demo']);
  assert.deepEqual(announce.plugins, [
    { name: 'cat/cat', version: '0.0.0', kind: 'exec' },
    { name: 'deep/inner', version: '2', kind: 'exec' },
    { name: 'hold/hold', version: '0.0.0', kind: 'exec' },
    { name: 'single', version: '0.0.0', kind: 'exec' },
    { name: 'sum', version: '1.2.3', kind: 'exec' },
  ]);
});

test('plugins are found in all documented places', async () => {
  for (const [plugin, answer] of [
    ['sum', 'sum\n'],
    ['deep/inner', 'deep\n'],
    ['single', 'single\n'],
    ['cat/cat', 'in'],
  ] as const) {
    assert.equal((await rig.broker.run({ plugin, payload: 'in' })).stdout.toString(), answer, plugin);
  }
});

test('a plugin that this machine does not allow is denied', async () => {
  const { result } = await rig.broker.run({ plugin: 'other/other' });
  assert.deepEqual([result.verdict, result.error], ['denied', 'TFS_PLUGIN_NOT_ALLOWED']);
});

test('a manifest that cannot be used fails with the key and the expectation', async () => {
  for (const [plugin, expected] of [
    ['broken', /colour: unknown key/],
    ['wrong', /calls itself elsewhere/],
  ] as const) {
    const { result } = await rig.broker.run({ plugin });
    assert.deepEqual([result.verdict, result.error], ['failed', 'TFS_PLUGIN_FAILED']);
    assert.match(result.detail, expected);
  }
  await rig.logged(/broken: colour: unknown key/);
});

test('links and paths that leave the folder are refused', async () => {
  mkdirSync(rig.path('plugins', 'link'));
  symlinkSync('/bin/sh', rig.path('plugins', 'link', 'link'));
  rig.plugin('escape/plugin.json', JSON.stringify({ name: 'escape', kind: 'exec', exec: '../../../../../../bin/sh' }));
  rig.plugin('absolute/plugin.json', JSON.stringify({ name: 'absolute', kind: 'exec', exec: '/bin/sh' }));
  for (const [plugin, expected] of [
    ['link/link', /out of the plugins’ folder/],
    ['escape', /out of the plugins’ folder/],
    ['absolute', /not an absolute path/],
  ] as const) {
    const { result } = await rig.broker.run({ plugin });
    assert.deepEqual([result.verdict, result.error], ['failed', 'TFS_PLUGIN_FAILED'], plugin);
    assert.match(result.detail, expected);
  }
});

test('a plugin is usable at once when it is put into the folder, and announced soon', async () => {
  rig.plugin('late/late', '#!/bin/sh\necho late\n');
  assert.equal((await rig.broker.run({ plugin: 'late/late' })).stdout.toString(), 'late\n');
  await until(() => rig.broker.announces.at(-1)?.plugins.some(({ name }) => name === 'late/late'), { what: 'the new plugin' });
  rmSync(rig.path('plugins', 'late'), { recursive: true });
  await until(() => rig.broker.announces.at(-1)?.plugins.every(({ name }) => name !== 'late/late'), { what: 'its end' });
  assert.equal((await rig.broker.run({ plugin: 'late/late' })).result.error, 'TFS_UNKNOWN_PLUGIN');
});

test('more tasks than the concurrency are busy, and the places come back', async () => {
  const held = [rig.broker.send({ plugin: 'hold/hold' }), rig.broker.send({ plugin: 'hold/hold' })];
  const { result, started, invocation } = await rig.broker.run({ plugin: 'cat/cat', payload: 'x' });
  assert.deepEqual([result.verdict, result.error, started], ['busy', 'TFS_BUSY', 0]);
  for (const run of held) rig.broker.cancel(run);
  for (const run of held) assert.equal((await run.done()).verdict, 'cancelled');
  // It was not executed, so the same attempt may come again.
  const again = await rig.broker.run({ plugin: 'cat/cat', payload: 'x', invocation });
  assert.deepEqual([again.result.verdict, again.stdout.toString()], ['ok', 'x']);
});

test('a new configuration is announced, and plans can be forgotten', async () => {
  rig.broker.json(0x30, { services: ['demo', 'second'] });
  await until(() => rig.broker.announces.at(-1)?.services.includes('second'), { what: 'the second service' });
  await rig.logged(/Found service second\. Announcing it to broker\./);
  const task = { plugin: 'cat/cat', payload: 'x', args: { forget: 'me' } };
  await rig.broker.run(task);
  rig.broker.unplan(task);
  assert.equal((await rig.broker.run(task)).stdout.toString(), 'x');
});

test('a cancel for nothing, credit for nothing and a task without a plan do no harm', async () => {
  const run = await rig.broker.run({ plugin: 'cat/cat', payload: 'x' });
  rig.broker.cancel(run);
  rig.broker.credit(run, 5);
  assert.equal((await rig.broker.run({ plugin: 'cat/cat', payload: 'y' })).stdout.toString(), 'y');
});
