import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { afterEach, beforeEach, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { InvocationIds } from '../../runtime/wire/invocation-id.ts';
import { until } from '../support/wait.ts';
import type { FakeBroker, FakeRun } from './fake-broker.ts';
import { type Rig, startRig } from './harness.ts';

const ids = new InvocationIds();
let rig: Rig;
let first: FakeBroker;
let second: FakeBroker;

const MARK = '#!/bin/sh\necho run >> "$TRIGGERFS_ARG_MARK"\n';

beforeEach(async () => {
  const plugins = {
    'count/count': `${MARK}echo "attempt $TRIGGERFS_ATTEMPT"\nexit 3\n`,
    'slow/slow': `${MARK}for i in 1 2 3 4 5 6 7 8; do echo $i; sleep 0.1; done\n`,
    'large/large': `${MARK}exec head -c 300000 /dev/zero\n`,
    'wall/wall': `${MARK}head -c 200000 /dev/zero\necho end >> "$TRIGGERFS_ARG_MARK"\n`,
    'mark/plugin.json': JSON.stringify({ name: 'mark', kind: 'resident', exec: 'mark.ts' }),
    'mark/mark.ts': `import { appendFileSync } from 'node:fs';
      import { serve } from 'triggerfs/sdk';
      serve(async (message, reply) => {
        appendFileSync(message.args.mark, 'run\\n');
        reply('begin ');
        await new Promise((resolve) => setTimeout(resolve, 400));
        return 'end';
      });`,
  };
  rig = await startRig({ plugins, brokers: 2 });
  [first, second] = rig.brokers as [FakeBroker, FakeBroker];
});
afterEach(async () => {
  assert.deepEqual([...first.violations, ...second.violations], []);
  await rig.stop();
});

function executions(): number {
  return readFileSync(rig.path('mark'), 'utf8')
    .split('\n')
    .filter((line) => line === 'run').length;
}

function task(plugin: string, more: object = {}): { plugin: string; args: { mark: string }; invocation: Buffer } {
  return { plugin, args: { mark: rig.path('mark') }, invocation: ids.next(), ...more };
}

test('a finished invocation is repeated from memory, on any broker', async () => {
  const again = task('count/count');
  const original = await first.run(again);
  for (const broker of [first, second]) {
    const { result, stdout, started } = await broker.run(again);
    assert.deepEqual({ ...result }, { ...original.result });
    assert.deepEqual([stdout.toString(), started], ['attempt 0\n', 1]);
  }
  assert.equal(executions(), 1);
});

test('an id that another team takes, too, is another invocation', async () => {
  const ours = task('count/count');
  await first.run(ours);
  await first.run({ ...ours, callerTeam: 'team2' });
  assert.equal(executions(), 2);
});

test('a higher attempt is executed, and a lower one is then old', async () => {
  const again = task('count/count');
  await first.run(again);
  const moved = await second.run({ ...again, attempt: 2 });
  assert.equal(moved.stdout.toString(), 'attempt 2\n');
  assert.equal((await first.run({ ...again, attempt: 1 })).stdout.toString(), 'attempt 2\n');
  assert.equal(executions(), 2);
});

for (const plugin of ['slow/slow', 'mark']) {
  test(`${plugin}: a run goes on when its broker dies, and another broker gets all of it`, async () => {
    const again = task(plugin);
    const lost = first.send(again);
    await until(() => lost.bytes > 0, { what: 'the first output' });
    first.kill();
    await until(() => rig.log.includes('lost the broker'), { what: 'the loss to be seen' });
    const { result, stdout } = await second.run(again);
    assert.equal(result.verdict, 'ok');
    assert.equal(stdout.toString(), plugin === 'mark' ? 'begin end' : '1\n2\n3\n4\n5\n6\n7\n8\n');
    assert.equal(executions(), 1);
  });

  test(`${plugin}: a result that nobody fetched is there for the next broker`, async () => {
    const again = task(plugin);
    const lost = first.send(again);
    await until(() => lost.bytes > 0, { what: 'the first output' });
    first.kill();
    await sleep(1500);
    const { result, stdout } = await second.run(again);
    assert.equal(result.verdict, 'ok');
    assert.equal(stdout.toString(), plugin === 'mark' ? 'begin end' : '1\n2\n3\n4\n5\n6\n7\n8\n');
    assert.equal(executions(), 1);
  });
}

test('a run asked for twice at once is executed once, and its first caller is told', async () => {
  const again = task('slow/slow');
  const one = first.send(again);
  await until(() => one.bytes > 0, { what: 'the first output' });
  const { stdout } = await second.run(again);
  assert.equal(stdout.toString(), '1\n2\n3\n4\n5\n6\n7\n8\n');
  const result = await one.done();
  assert.deepEqual([result.verdict, result.error], ['cancelled', 'TFS_CONFLICT']);
  assert.equal(executions(), 1);
});

test('long output is repeated as far as it was kept, and says what is missing', async () => {
  const again = task('large/large');
  assert.equal((await first.run(again)).bytes, 300_000);
  const { result, bytes } = await second.run(again);
  assert.equal(result.verdict, 'ok');
  assert.ok(bytes > 0 && bytes <= 65_536, `${bytes} bytes`);
  assert.equal(result.detail, `the first ${300_000 - bytes} bytes of its output are not repeated`);
  assert.equal(executions(), 1);
});

test('a repeated result keeps to the credit of its new reader', async () => {
  const again = task('large/large');
  await first.run(again);
  const run: FakeRun = second.send({ ...again, credit: 1000, autoCredit: false });
  await until(() => run.bytes === 1000, { what: 'the credit to be used' });
  assert.equal(run.result, null);
  second.credit(run, 100_000);
  assert.equal((await run.done()).verdict, 'ok');
});

test('output that has no broker waits for the next one', async () => {
  const again = task('wall/wall');
  const lost = first.send({ ...again, credit: 10, autoCredit: false });
  await until(() => lost.bytes === 10, { what: 'the credit to be used' });
  first.kill();
  await until(() => rig.log.includes('lost the broker'), { what: 'the loss to be seen' });
  await sleep(300);
  const run = await second.run(again);
  assert.deepEqual([run.result.verdict, run.bytes], ['ok', 200_000]);
  assert.equal(executions(), 1);
});

test('lines land exactly once and in order although the broker dies and all unanswered ones come again', async () => {
  await rig.stop();
  rig = await startRig({ brokers: 2, workers: ['concurrency = 300'] });
  [first, second] = rig.brokers as [FakeBroker, FakeBroker];
  const path = rig.path('out.log');
  const total = 4000;
  const window = 256;
  const lines = Array.from({ length: total }, (_, index) => ({ invocation: ids.next(), payload: `line ${index}\n` }));
  let broker = first;
  let answered = 0;
  const open: { index: number; run: FakeRun }[] = [];
  const send = (index: number): void => {
    const line = lines[index] as (typeof lines)[number];
    open.push({ index, run: broker.send({ plugin: 'file/append', args: { path }, ...line }) });
  };
  for (let next = 0; answered < total; ) {
    while (next < total && open.length < window) send(next++);
    await until(() => open[0]?.run.result ?? (broker === first && answered > total / 2), { what: 'an answer' });
    if (broker === first && answered > total / 2) {
      first.kill();
      broker = second;
      for (const { index } of open.splice(0)) send(index);
    }
    while (open[0]?.run.result) {
      assert.equal(open[0].run.result.verdict, 'ok', open[0].run.result.detail);
      open.shift();
      answered += 1;
    }
  }
  assert.deepEqual(
    readFileSync(path, 'utf8').split('\n').slice(0, -1),
    lines.map(({ payload }) => payload.trim()),
  );
});
