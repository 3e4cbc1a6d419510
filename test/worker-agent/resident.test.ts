import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { until } from '../support/wait.ts';
import { isAlive, type Rig, startRig } from './harness.ts';

let rig: Rig;

function manifest(name: string, more: object = {}): string {
  return JSON.stringify({ name, kind: 'resident', exec: `${name}.ts`, ...more });
}

const SDK = "import { onKill, serve } from 'triggerfs/sdk';\n";

before(async () => {
  const plugins = {
    'pid/plugin.json': manifest('pid'),
    'pid/pid.ts': `${SDK}console.log('printed by mistake'); serve(() => String(process.pid));`,
    'crash/plugin.json': manifest('crash'),
    'crash/crash.ts': `${SDK}serve(async (message) => {
      if (message.text() === 'die') process.exit(5);
      if (message.text() === 'throw') throw new Error('the reason');
      await new Promise((resolve) => setTimeout(resolve, 200));
      return message.text();
    });`,
    'recycle/plugin.json': manifest('recycle', { recycleAfter: 100 }),
    'recycle/recycle.ts': `${SDK}serve(async () => { await new Promise((resolve) => setTimeout(resolve, 5)); return String(process.pid); });`,
    'never/plugin.json': manifest('never'),
    'never/never.ts': "process.stderr.write('no luck today\\n'); process.exit(9);",
    'absent/plugin.json': JSON.stringify({ name: 'absent', kind: 'resident', exec: ['no-such-program-here'] }),
    'order/plugin.json': manifest('order', { ordered: true, recycleAfter: 50 }),
    'order/order.ts': `${SDK}import { appendFileSync } from 'node:fs';
      serve(async (message) => {
        await new Promise((resolve) => setTimeout(resolve, Math.random() * 3));
        appendFileSync(message.args.path, message.text() + '\\n');
      }, { ordered: true });`,
    'garbage/plugin.json': JSON.stringify({ name: 'garbage', kind: 'resident', exec: 'garbage' }),
    'garbage/garbage': '#!/bin/sh\nhead -c 100000 /dev/urandom\nsleep 10\n',
    'liar/plugin.json': manifest('liar'),
    'liar/liar.ts': `${SDK}import { writeSync } from 'node:fs';
      const frame = (type, number, body) => {
        const header = Buffer.alloc(10);
        header.writeUInt32LE(6 + body.length, 0);
        header[4] = type;
        header.writeUInt32LE(number, 6);
        writeSync(1, Buffer.concat([header, body]));
      };
      serve(async (message, reply) => {
        if (message.text() === 'foreign') frame(0x83, 12345, Buffer.from([0, 0]));
        if (message.text() === 'type') frame(0x7f, 1, Buffer.alloc(0));
        if (message.text() === 'short') frame(0x83, message.number, Buffer.alloc(0));
        if (message.text() === 'long') frame(0x82, message.number, Buffer.alloc(70_000));
        await new Promise((resolve) => setTimeout(resolve, 5000));
      });`,
    'greeting/plugin.json': manifest('greeting', { args: { times: { type: 'integer', default: 2 } } }),
    'greeting/greeting.ts': `${SDK}onKill(() => console.error('killed nicely'));
      serve((message, reply) => {
        for (let i = 0; i < message.args.times; i += 1) reply('hi ');
        reply.error('careful');
        reply(JSON.stringify([message.invocation, message.service, message.caller, message.team, message.attempt]));
        return 4;
      });`,
  };
  rig = await startRig({ plugins, workers: ['concurrency = 1000'], arguments: ['-debug'] });
});
after(async () => {
  assert.deepEqual(rig.broker.violations, []);
  await rig.stop();
});

test('one process serves many runs, and its prints go to the log', async () => {
  const runs = await Promise.all(Array.from({ length: 500 }, () => rig.broker.run({ plugin: 'pid' })));
  const pids = new Set(runs.map(({ stdout }) => stdout.toString()));
  assert.equal(pids.size, 1);
  await rig.logged(/plugin pid: printed by mistake/);
});

test('a message carries its arguments and who asked; output, error and exit code come back', async () => {
  const run = await rig.broker.run({ plugin: 'greeting', args: { times: '3' } });
  const [invocation, ...rest] = JSON.parse(run.stdout.toString().replaceAll('hi ', ''));
  assert.equal(invocation.replaceAll('-', ''), run.invocation.toString('hex'));
  assert.deepEqual(rest, ['demo', 'hp', 'team1', 0]);
  assert.deepEqual([run.stderr.toString(), run.result.verdict, run.result.exitCode], ['careful', 'failed', 4]);
  assert.match((await rig.broker.run({ plugin: 'greeting' })).stdout.toString(), /^hi hi \[/);
});

test('what a handler throws is its standard error', async () => {
  const { result, stderr } = await rig.broker.run({ plugin: 'crash', payload: 'throw' });
  assert.deepEqual([result.verdict, result.exitCode, stderr.toString()], ['failed', 1, 'the reason\n']);
});

test('a plugin that dies fails its open runs, and is started again', async () => {
  const open = rig.broker.send({ plugin: 'crash', payload: 'open' });
  await until(() => open.started === 1, { what: 'the run to start' });
  const { result } = await rig.broker.run({ plugin: 'crash', payload: 'die' });
  for (const one of [result, await open.done()]) {
    assert.deepEqual([one.verdict, one.error], ['failed', 'TFS_PLUGIN_FAILED']);
    assert.match(one.detail, /plugin crash died: exit code 5/);
  }
  assert.equal((await rig.broker.run({ plugin: 'crash', payload: 'back' })).stdout.toString(), 'back');
});

test('a plugin that cannot start fails its runs with the reason, also before the next attempt', async () => {
  for (let i = 0; i < 3; i += 1) {
    const { result, started } = await rig.broker.run({ plugin: 'never' });
    assert.deepEqual([result.verdict, result.error, started], ['failed', 'TFS_PLUGIN_FAILED', 0]);
    assert.match(result.detail, /plugin never died: exit code 9/);
  }
  await rig.logged(/plugin never: no luck today/);
  assert.match((await rig.broker.run({ plugin: 'absent' })).result.detail, /no program no-such-program-here/);
});

test('a process is replaced after its number of runs, without losing any', async () => {
  const runs = await Promise.all(Array.from({ length: 350 }, () => rig.broker.run({ plugin: 'recycle' })));
  assert.ok(runs.every(({ result }) => result.verdict === 'ok'));
  const pids = [...new Set(runs.map(({ stdout }) => Number(stdout.toString())))];
  assert.ok(pids.length >= 2, `${pids.length} processes`);
  await rig.broker.run({ plugin: 'recycle' });
  await until(() => pids.filter(isAlive).length <= 1, { what: 'the old processes to end' });
});

test('an ordered plugin keeps the order over its replacements', async () => {
  const path = rig.path('order.txt');
  const words = Array.from({ length: 220 }, (_, index) => String(index));
  await Promise.all(words.map((payload) => rig.broker.run({ plugin: 'order', args: { path }, payload })));
  const { stdout } = await rig.broker.run({ plugin: 'crash', payload: 'sync' });
  assert.equal(stdout.toString(), 'sync');
  const { readFileSync } = await import('node:fs');
  assert.deepEqual(readFileSync(path, 'utf8').trim().split('\n'), words);
});

test('a changed file replaces the process', async () => {
  const before = (await rig.broker.run({ plugin: 'pid' })).stdout.toString();
  rig.plugin('pid/pid.ts', `${SDK}serve(() => 'new ' + process.pid);`);
  await until(async () => (await rig.broker.run({ plugin: 'pid' })).stdout.toString().startsWith('new '), { what: 'the new code' });
  await until(() => !isAlive(Number(before)), { what: 'the old process to end' });
});

test('garbage from a plugin ends the plugin, not the worker', async () => {
  const { result } = await rig.broker.run({ plugin: 'garbage' });
  assert.deepEqual([result.verdict, result.error], ['failed', 'TFS_PLUGIN_FAILED']);
  assert.match(result.detail, /it sent/);
  for (const payload of ['foreign', 'type', 'short', 'long']) {
    const lie = await rig.broker.run({ plugin: 'liar', payload });
    assert.deepEqual([lie.result.verdict, lie.result.error], ['failed', 'TFS_PLUGIN_FAILED'], payload);
    assert.match(lie.result.detail, /was ended: it sent/, payload);
  }
  assert.equal(rig.exit, null);
  assert.equal((await rig.broker.run({ plugin: 'greeting', args: { times: '0' } })).result.exitCode, 4);
});

test('large payloads pass, whole and in pieces', async () => {
  rig.plugin('back/plugin.json', manifest('back'));
  rig.plugin('back/back.ts', `${SDK}serve((message) => message.payload);`);
  const payload = Buffer.alloc(3 * 1024 * 1024, 'abcdefg');
  const runs = await Promise.all(Array.from({ length: 5 }, () => rig.broker.run({ plugin: 'back', payload })));
  for (const { stdout } of runs) assert.ok(stdout.equals(payload));
});
