import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { chmodSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, test } from 'node:test';
import { until } from '../support/wait.ts';
import type { FakeBroker } from './fake-broker.ts';
import { isAlive, Rig, type RigOptions, startRig } from './harness.ts';

const PLUGINS = {
  'slow/slow': '#!/bin/sh\necho $$\nsleep 0.6\necho end\n',
  'until/until': '#!/bin/sh\necho begin\nuntil test -e "$TRIGGERFS_ARG_FILE"; do sleep 0.02; done\necho end\n',
  'hold/hold': '#!/bin/sh\necho $$\nexec sleep 60\n',
  'much/much': '#!/bin/sh\nexec head -c "$TRIGGERFS_ARG_BYTES" /dev/zero\n',
  // Takes its time to get ready, so that runs wait for it.
  'late/plugin.json': JSON.stringify({ name: 'late', kind: 'resident', exec: 'late.ts' }),
  'late/late.ts': `import { serve } from 'triggerfs/sdk';
    let runs = 0;
    const { TFS_TEST_MARK } = process.env;
    (await import('node:fs')).writeFileSync(TFS_TEST_MARK, '');
    await new Promise((resolve) => setTimeout(resolve, 2000));
    serve(() => String((runs += 1)));`,
  'pid/plugin.json': JSON.stringify({ name: 'pid', kind: 'resident', exec: 'pid.ts' }),
  'pid/pid.ts': `import { onKill, serve } from 'triggerfs/sdk'; onKill(() => console.error('good-bye')); serve(() => String(process.pid));`,
};

let rig: Rig;
afterEach(() => rig.stop());

async function begin(options: RigOptions = {}): Promise<void> {
  rig = await startRig({ plugins: PLUGINS, ...options });
}

async function ended(timeoutMs = 10_000): Promise<number | null> {
  await until(() => rig.exit !== null, { what: 'the worker to end', timeoutMs });
  return rig.exit?.code ?? null;
}

test('the log has the documented lines', async () => {
  await begin({ arguments: ['-debug', 'true'] });
  await until(() => rig.log.includes('HEARTBEAT'), { what: 'a heartbeat' });
  const lines = [
    /^\d{4}\/\d\d\/\d\d \d\d:\d\d:\d\d I: connecting to broker at tcp:\/\/127\.0\.0\.1:\d+\.\.\.$/m,
    /I: received BROKER_ACCEPTED from broker for worker socket - Connected$/m,
    /I: Found service demo\. Announcing it to broker\.$/m,
    /I: received HEARTBEAT for worker socket from broker\.$/m,
  ];
  for (const line of lines) await rig.logged(line);
});

for (const signal of ['SIGTERM', 'SIGINT'] as const) {
  test(`${signal}: running work ends first, new work is given back`, async () => {
    await begin();
    const file = rig.path('enough');
    const running = rig.broker.send({ plugin: 'until/until', args: { file } });
    const resident = Number((await rig.broker.run({ plugin: 'pid' })).stdout);
    await until(() => running.bytes > 0, { what: 'the run to start' });
    rig.worker.kill(signal);
    await until(() => rig.broker.announces.at(-1)?.concurrency === 0, { what: 'the announcement of the end' });
    const late = await rig.broker.run({ plugin: 'slow/slow' });
    assert.deepEqual([late.result.verdict, late.result.error, late.started], ['busy', 'TFS_DRAINING', 0]);
    writeFileSync(file, '');
    assert.equal((await running.done()).verdict, 'ok');
    assert.match(running.stdout.toString(), /end/);
    assert.equal(await ended(), 0);
    assert.equal(rig.broker.byes, 1);
    assert.equal(isAlive(resident), false);
    await rig.logged(/plugin pid: good-bye/);
    assert.ok(!readdirSync(tmpdir()).some((name) => name.startsWith(`triggerfs-worker-${rig.pid}-`)));
  });
}

test('work that outlives the grace is killed', async () => {
  await begin({ workers: ['grace = "300ms"'] });
  const running = rig.broker.send({ plugin: 'hold/hold' });
  await until(() => running.bytes > 0, { what: 'the run to start' });
  rig.worker.kill('SIGTERM');
  const result = await running.done();
  assert.deepEqual([result.verdict, result.error], ['failed', 'TFS_DRAINING']);
  assert.equal(await ended(), 0);
  assert.equal(isAlive(Number(running.stdout)), false);
});

test('output that nobody reads does not hold up the end', async () => {
  await begin({ workers: ['grace = "300ms"'] });
  const ended = rig.broker.send({ plugin: 'much/much', credit: 1, autoCredit: false, args: { bytes: '1000' } });
  const blocked = rig.broker.send({ plugin: 'much/much', credit: 1, autoCredit: false, args: { bytes: '1000000' } });
  await until(() => ended.bytes === 1 && blocked.bytes === 1, { what: 'the first bytes' });
  rig.worker.kill('SIGTERM');
  for (const run of [ended, blocked]) assert.equal((await run.done(3000)).error, 'TFS_DRAINING');
  await until(() => rig.exit?.code === 0, { what: 'the worker to end' });
});

test('what had not started when its broker was lost is not started here', async () => {
  const path = join(tmpdir(), `triggerfs-late-${process.pid}`);
  await begin({ brokers: 2, workers: ['environment = ["TFS_TEST_MARK"]'], environment: { TFS_TEST_MARK: path } });
  const [first, second] = rig.brokers as [FakeBroker, FakeBroker];
  const waiting = first.send({ plugin: 'late' });
  await until(() => existsSync(path), { what: 'the plugin to start' });
  first.kill();
  await until(() => rig.log.includes('lost the broker'), { what: 'the loss to be seen' });
  rmSync(path);
  const again = await second.run({ plugin: 'late', invocation: waiting.invocation, attempt: 0 });
  assert.deepEqual([again.result.verdict, again.stdout.toString()], ['ok', '1']);
});

test('a second signal kills everything and ends at once', async () => {
  await begin();
  const running = rig.broker.send({ plugin: 'hold/hold' });
  const resident = Number((await rig.broker.run({ plugin: 'pid' })).stdout);
  await until(() => running.bytes > 0, { what: 'the run to start' });
  rig.worker.kill('SIGINT');
  await until(() => rig.broker.announces.at(-1)?.concurrency === 0, { what: 'the announcement of the end' });
  rig.worker.kill('SIGINT');
  assert.equal(await ended(1000), 70);
  await until(() => !isAlive(Number(running.stdout)) && !isAlive(resident), { what: 'the plugins to end' });
});

test('a worker that another one replaced ends with a clear message', async () => {
  rig = new Rig();
  const broker = await rig.addBroker();
  broker.refusal = { code: 'TFS_CONFLICT', message: 'another process uses the identity demo01' };
  await rig.start({ brokers: 0, lazy: true });
  assert.equal(await ended(), 73);
  await rig.logged(/another process uses the identity demo01 \(TFS_CONFLICT\)/);
});

test('wrong credentials end the worker, an absent control-plane does not', async () => {
  rig = new Rig();
  rig.api.failure = { status: 503, code: 'TFS_UNAVAILABLE' };
  await rig.start({ lazy: true });
  await until(() => /trying again/.test(rig.log), { what: 'a second attempt' });
  rig.api.failure = null;
  await rig.connected();
  await rig.stop();
  rig = new Rig();
  rig.api.failure = { status: 401, code: 'TFS_BAD_CREDENTIALS' };
  await rig.start({ lazy: true });
  assert.equal(await ended(), 77);
  await rig.logged(/TFS_BAD_CREDENTIALS/);
});

test('brokers are joined and left while the worker runs', async () => {
  await begin();
  const second = await rig.addBroker();
  rig.broker.json(0x08, { brokers: rig.api.brokers });
  await rig.connected();
  assert.equal((await second.run({ plugin: 'slow/slow' })).result.verdict, 'ok');
  const running = rig.broker.send({ plugin: 'slow/slow' });
  await until(() => running.bytes > 0, { what: 'the run to start' });
  second.json(0x08, { brokers: [second.address] });
  assert.equal((await running.done()).verdict, 'ok');
  await until(() => rig.broker.byes === 1, { what: 'the first broker to be left' });
  assert.equal((await second.run({ plugin: 'slow/slow' })).result.verdict, 'ok');
});

test('a broker that comes back elsewhere is found through the control-plane', async () => {
  await begin();
  rig.broker.kill();
  rig.brokers.length = 0;
  rig.api.brokers.length = 0;
  await rig.addBroker();
  await rig.connected();
  assert.equal((await rig.broker.run({ plugin: 'slow/slow' })).result.verdict, 'ok');
});

test('usage errors name what is wrong', async () => {
  const cases: [string[], RegExp, number][] = [
    [['-identity', 'nobody'], /no section \[workers\.TEAM\.nobody\]/, 64],
    [['-colour', 'red'], /unknown option -colour/, 64],
    [['-config', '/no/such/file.toml'], /cannot read the configuration/, 78],
  ];
  for (const [argv, expected, code] of cases) {
    rig = new Rig();
    await rig.start({ lazy: true, arguments: argv });
    assert.equal(await ended(), code);
    await rig.logged(expected);
    await rig.stop();
  }
  rig = new Rig();
  await rig.start({ lazy: true, workers: ['pluginspath = "/no/such/folder"'] });
  assert.equal(await ended(), 78);
  await rig.logged(/pluginspath/);
});

test('a worker that is killed leaves no process behind', async () => {
  await begin();
  const running = rig.broker.send({ plugin: 'hold/hold' });
  const resident = Number((await rig.broker.run({ plugin: 'pid' })).stdout);
  await until(() => running.bytes > 0, { what: 'the run to start' });
  rig.worker.kill('SIGKILL');
  const processes = [Number(running.stdout), resident];
  await until(() => !processes.some(isAlive), { what: 'the plugins to end', timeoutMs: 7000 });
});

test('a spawner that dies fails its runs, leaves no process behind, and is replaced', async () => {
  await begin();
  const running = rig.broker.send({ plugin: 'hold/hold' });
  await until(() => running.bytes > 0, { what: 'the run to start' });
  process.kill(parentOf(Number(running.stdout)), 'SIGKILL');
  const result = await running.done();
  assert.deepEqual([result.verdict, result.error], ['failed', 'TFS_PLUGIN_FAILED']);
  await until(() => !isAlive(Number(running.stdout)), { what: 'the plugin to end' });
  assert.equal((await rig.broker.run({ plugin: 'slow/slow' })).result.verdict, 'ok');
});

test('a plan that is taken back right behind its task fails nothing', async () => {
  await begin();
  const other = rig.broker.send({ plugin: 'slow/slow' });
  await until(() => other.bytes > 0, { what: 'the other run to start' });
  const task = { plugin: 'much/much', args: { bytes: '3' } };
  const run = rig.broker.send(task);
  rig.broker.unplan(task);
  assert.deepEqual([(await run.done()).verdict, run.stdout.length], ['ok', 3]);
  assert.equal((await other.done()).verdict, 'ok');
  assert.match(other.stdout.toString(), /end/);
  assert.doesNotMatch(rig.log, /spawner/);
});

test('a spawner that cannot be started refuses runs, costs no descriptors, and is tried again', async () => {
  await begin();
  const running = rig.broker.send({ plugin: 'hold/hold' });
  await until(() => running.bytes > 0, { what: 'the run to start' });
  process.kill(parentOf(Number(running.stdout)), 'SIGKILL');
  await running.done();
  const before = descriptors().length;
  const usual = Number(/^Max open files\s+(\d+)/m.exec(readFileSync(`/proc/${rig.pid}/limits`, 'utf8'))?.[1]);
  // Enough for the pipes of a run, and for nothing of a process.
  limitDescriptors(lowestWithFree(4));
  for (let i = 0; i < 3; i += 1) {
    const { result } = await rig.broker.run({ plugin: 'slow/slow' });
    assert.deepEqual([result.verdict, result.error], ['busy', 'TFS_BUSY']);
    assert.equal(descriptors().length, before);
  }
  await rig.logged(/the spawner could not be started \(.*EMFILE/);
  limitDescriptors(usual);
  assert.equal((await rig.broker.run({ plugin: 'slow/slow' })).result.verdict, 'ok');
});

test('plugins run as another user, who can use the standard streams', { skip: process.getuid?.() !== 0 }, async () => {
  const plugins = {
    ...PLUGINS,
    'who/who': '#!/bin/sh\nid -un\ncat /dev/stdin\necho oops > /dev/stderr\npwd\n',
    'whor/plugin.json': JSON.stringify({ name: 'whor', kind: 'resident', exec: 'whor.mjs' }),
    'whor/whor.mjs': "import { serve } from 'triggerfs/sdk'; serve(() => String(process.getuid()));",
  };
  rig = new Rig();
  chmodSync(rig.folder, 0o755);
  await rig.start({ plugins, workers: ['user = "nobody"'] });
  const { stdout, stderr } = await rig.broker.run({ plugin: 'who/who', payload: 'input\n' });
  assert.deepEqual([stdout.toString(), stderr.toString()], ['nobody\ninput\n/\n', 'oops\n']);
  const resident = await rig.broker.run({ plugin: 'whor' });
  // A checkout below a closed home folder cannot be read by another user, and then the plugin cannot start.
  const answer = resident.result.verdict === 'ok' ? resident.stdout.toString() : resident.result.detail;
  assert.match(answer, resident.result.verdict === 'ok' ? /^65534$/ : /plugin whor died/);
});

function parentOf(pid: number): number {
  return Number(/^PPid:\s+(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);
}

function descriptors(): number[] {
  return readdirSync(`/proc/${rig.pid}/fd`).map(Number);
}

/** The limit of descriptors under which the worker could open so many more. */
function lowestWithFree(count: number): number {
  const open = new Set(descriptors());
  let limit = 0;
  for (let free = 0; free < count; limit += 1) if (!open.has(limit)) free += 1;
  return limit;
}

function limitDescriptors(limit: number): void {
  execFileSync('prlimit', ['--pid', String(rig.pid), `--nofile=${limit}:`]);
}
