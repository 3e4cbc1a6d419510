import assert from 'node:assert/strict';
import { appendFileSync, readFileSync, writeFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { until } from '../support/wait.ts';
import { type Rig, startRig } from '../worker-agent/harness.ts';

let rig: Rig;
before(async () => {
  rig = await startRig({ workers: ['concurrency = 500'] });
});
after(async () => {
  assert.deepEqual(rig.broker.violations, []);
  await rig.stop();
});

test('all plugins of the package are announced', async () => {
  const { plugins } = await rig.broker.announced();
  assert.deepEqual(plugins.map(({ name, kind }) => `${name} ${kind}`).sort(), [
    'command/command exec',
    'echo resident',
    'file/append resident',
    'file/stream exec',
    'skeleton resident',
  ]);
});

test('echo returns what it gets', async () => {
  const payload = Buffer.from([0, 255, 10, 13]);
  assert.ok((await rig.broker.run({ plugin: 'echo', payload })).stdout.equals(payload));
});

test('the skeleton greets, and asks whom', async () => {
  const greeted = await rig.broker.run({ plugin: 'skeleton', payload: 'world\n', args: { greeting: 'Good morning' } });
  assert.equal(greeted.stdout.toString(), 'one moment\nGood morning, world!\n');
  const { result, stderr } = await rig.broker.run({ plugin: 'skeleton' });
  assert.deepEqual([result.verdict, result.exitCode, stderr.toString()], ['failed', 2, 'whom shall I greet?\n']);
});

test('command/command is bash with the payload as its script', async () => {
  const cases: [string, string, string, number][] = [
    ['echo uptime', 'uptime\n', '', 0],
    ['echo a; echo b >&2; exit 7', 'a\n', 'b\n', 7],
    ['x=1\nif [ $x = 1 ]; then\n  echo "multi  line"\nfi\n', 'multi  line\n', '', 0],
    ['nosuchcommand', '', 'bash: line 1: nosuchcommand: command not found\n', 127],
    ['read -r line || echo end of input', 'end of input\n', '', 0],
    ['echo \'single\' "double" $(echo sub) \\\\ \\$HOME', 'single double sub \\ $HOME\n', '', 0],
    ['kill -TERM $$', '', '', 143],
    ['', '', '', 0],
    ['echo oops > /dev/stderr; echo fine | cat', 'fine\n', 'oops\n', 0],
  ];
  for (const [payload, stdout, stderr, exitCode] of cases) {
    const run = await rig.broker.run({ plugin: 'command/command', payload });
    assert.deepEqual([run.stdout.toString(), run.stderr.toString(), run.result.exitCode], [stdout, stderr, exitCode], payload);
  }
});

test('the command is not visible in the list of processes', async () => {
  const run = rig.broker.send({ plugin: 'command/command', payload: 'hidden=secretword; echo $$; sleep 30' });
  await until(() => run.stdout.includes('\n'), { what: 'the process' });
  assert.doesNotMatch(readFileSync(`/proc/${Number(run.stdout)}/cmdline`, 'utf8'), /secretword/);
  rig.broker.cancel(run);
  assert.equal((await run.done()).verdict, 'cancelled');
});

test('file/append appends in order, and says what went wrong', async () => {
  const path = rig.path('append.log');
  const lines = Array.from({ length: 400 }, (_, index) => `line ${index}`);
  const runs = await Promise.all(
    lines.map((payload) => rig.broker.run({ plugin: 'file/append', args: { path, newline: 'true' }, payload })),
  );
  assert.ok(runs.every(({ result }) => result.verdict === 'ok'));
  assert.equal(readFileSync(path, 'utf8'), `${lines.join('\n')}\n`);
  const { result, stderr } = await rig.broker.run({ plugin: 'file/append', args: { path: rig.path('no', 'folder') }, payload: 'x' });
  assert.deepEqual([result.verdict, result.exitCode], ['failed', 1]);
  assert.match(stderr.toString(), /cannot append to .*folder: ENOENT/);
  const relative = await rig.broker.run({ plugin: 'file/append', args: { path: 'relative' }, payload: 'x' });
  assert.equal(relative.result.error, 'TFS_BAD_ARGUMENT');
});

test('file/stream streams a file, its end, and what is appended', async () => {
  const path = rig.path('stream.log');
  writeFileSync(path, 'one\ntwo\nthree\n');
  assert.equal((await rig.broker.run({ plugin: 'file/stream', args: { path } })).stdout.toString(), 'one\ntwo\nthree\n');
  assert.equal((await rig.broker.run({ plugin: 'file/stream', args: { path, lines: '1' } })).stdout.toString(), 'three\n');
  const following = rig.broker.send({ plugin: 'file/stream', args: { path, follow: 'true', lines: '1' } });
  await until(() => following.stdout.includes('three'), { what: 'the last line' });
  appendFileSync(path, 'four\n');
  await until(() => following.stdout.includes('four'), { what: 'the new line' });
  rig.broker.cancel(following);
  assert.equal((await following.done()).verdict, 'cancelled');
  const absent = await rig.broker.run({ plugin: 'file/stream', args: { path: rig.path('absent'), follow: 'true' } });
  assert.deepEqual([absent.result.verdict, absent.result.exitCode], ['failed', 1]);
  assert.match(absent.stderr.toString(), /absent/);
});
