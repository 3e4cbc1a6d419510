import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { afterEach, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ResidentSchedule } from '../../protocol/resident.ts';
import { formatInvocationId } from '../../runtime/wire/invocation-id.ts';
import { slotInvocationId } from '../../runtime/wire/slot-id.ts';
import { until } from '../support/wait.ts';
import type { FakeBroker } from './fake-broker.ts';
import { Rig, type RigOptions, startRig } from './harness.ts';
import { definition } from './resident-definition.ts';

const PLUGINS = {
  'tick/tick': '#!/bin/sh\necho "$TRIGGERFS_INVOCATION $(cat)" >> "$TRIGGERFS_ARG_FILE"\necho tock\necho oops >&2\n',
  'slow/slow': '#!/bin/sh\necho "$TRIGGERFS_INVOCATION" >> "$TRIGGERFS_ARG_FILE"\necho begins\nsleep 2\necho ends\n',
  'much/much': '#!/bin/sh\nhead -c 3145728 /dev/zero | tr "\\0" x\necho the end\n',
};

let rig: Rig;
afterEach(() => rig.stop());

async function begin(schedules: readonly Partial<ResidentSchedule>[], options: RigOptions = {}): Promise<void> {
  rig = await startRig({ plugins: PLUGINS, lazy: true, ...options });
  rig.broker.schedules = schedules.map((given) => tick(given));
  await rig.connected();
}

/** A schedule that fires every second. Its plugin notes each execution in a file. */
function tick(given: Partial<ResidentSchedule> = {}): ResidentSchedule {
  const now = Date.now();
  return definition({
    everyMs: 1_000,
    anchor: now - (now % 1000),
    from: now,
    payload: 'hello',
    args: { file: rig.path('ticks') },
    ...given,
  });
}

function executions(): string[] {
  return existsSync(rig.path('ticks')) ? readFileSync(rig.path('ticks'), 'utf8').trim().split('\n') : [];
}

function invocationOf({ schedule, due }: { schedule: number; due: number }): string {
  return formatInvocationId(slotInvocationId(schedule, due));
}

async function executed(count: number): Promise<void> {
  await until(() => executions().length >= count, { what: `${count} executions`, timeoutMs: 20_000 });
}

/** No broker and no control-plane any more. */
function cut(): void {
  rig.api.failure = { status: 503, code: 'TFS_UNAVAILABLE' };
  for (const broker of rig.brokers) broker.kill();
}

/** A new broker that knows the schedules, and a control-plane that names it. */
async function heal(): Promise<FakeBroker> {
  const { schedules } = rig.broker;
  rig.api.failure = null;
  rig.api.brokers = [];
  const broker = await rig.addBroker();
  broker.schedules = schedules.map((one) => ({ ...one, taken: true }));
  return broker;
}

/** Every slot once, from the first to the last that was reported by these brokers, at the distance of a second. */
function assertEverySlot(brokers: readonly FakeBroker[], step = 1_000): number[] {
  const dues = brokers.flatMap((broker) => broker.reports.map(({ report }) => report.due)).sort((a, b) => a - b);
  const first = dues[0] as number;
  assert.deepEqual(
    dues,
    dues.map((_, i) => first + i * step),
  );
  return dues;
}

test('a schedule fires on time, and each fire is reported with verdict and output', async () => {
  await begin([{ overlap: 'allow' }]);
  const fired = (): FakeBroker['reports'] => rig.broker.reports.filter(({ report }) => report.outcome !== 'missed');
  await until(() => fired().length >= 3, { what: 'three reports', timeoutMs: 15_000 });
  assertEverySlot([rig.broker]);
  // Slots before the worker was ready count as missed.
  assert.equal(rig.broker.reports.length - fired().length, rig.broker.reports.indexOf(fired()[0] as FakeBroker['reports'][number]));
  for (const { report, output } of fired()) {
    assert.ok(report.outcome === 'fired' || report.outcome === 'late', report.outcome);
    assert.ok(report.at - report.due < (report.outcome === 'late' ? 30_000 : 1_001), `${report.at - report.due} ms late`);
    assert.equal(report.run?.verdict, 'ok');
    assert.equal(report.run?.payload, 'hello');
    assert.ok(executions().some((line) => line === `${invocationOf(report)} hello`));
    assert.deepEqual(output.split('\n').sort(), ['', 'oops', 'tock']);
  }
  const [keep] = rig.broker.keeps;
  assert.deepEqual([keep?.schedules, keep?.released], [[], []]);
  assert.equal(new Set(executions()).size, executions().length);
});

test('cut off, killed and started again without any uplink: it goes on, and reports every slot once', async () => {
  await begin([{}]);
  await executed(2);
  cut();
  const first = executions().length;
  await executed(first + 2);
  await rig.kill();
  rig.respawn();
  const second = executions().length;
  await executed(second + 2);
  const broker = await heal();
  await until(() => broker.reports.length > 0 && broker.keeps.length > 0, { what: 'reports after the healing', timeoutMs: 20_000 });
  await until(() => Date.now() - (broker.reports.at(-1)?.report.due ?? 0) < 2_500, { what: 'the newest reports', timeoutMs: 20_000 });
  assertEverySlot(rig.brokers);
  const reports = rig.brokers.flatMap((one) => one.reports);
  const ran = new Map<string, number>();
  for (const line of executions()) ran.set(line.split(' ')[0] as string, (ran.get(line.split(' ')[0] as string) ?? 0) + 1);
  for (const count of ran.values()) assert.equal(count, 1);
  for (const { report } of reports) {
    if (report.run === undefined) continue;
    assert.ok(['ok', 'worker-lost'].includes(report.run.verdict));
    if (report.run.verdict === 'ok') assert.ok(ran.has(invocationOf(report)), 'a run that is reported did happen');
  }
  assert.equal(broker.keeps[0]?.journal, rig.brokers[0]?.keeps[0]?.journal);
});

test('kill -9 in the middle of a run: its slot is reported as lost and not run again', async () => {
  await begin([{ plugin: 'slow/slow', overlap: 'allow', timeoutMs: 30_000 }]);
  await executed(2);
  await rig.kill();
  const before = executions();
  rig.broker.keeps = [];
  rig.respawn();
  await until(() => rig.broker.reports.filter(({ report }) => report.run?.verdict === 'worker-lost').length >= before.length, {
    what: 'reports of the lost runs',
    timeoutMs: 20_000,
  });
  const lost = rig.broker.reports.filter(({ report }) => report.run?.verdict === 'worker-lost');
  assert.deepEqual(lost.map(({ report }) => invocationOf(report)).sort(), before.sort());
  assert.equal(new Set(executions()).size, executions().length);
});

test('reports that nobody confirms are sent again, and confirmed ones never', async () => {
  await begin([{}]);
  rig.broker.confirming = false;
  await until(() => rig.broker.uploads >= 1, { what: 'a report', timeoutMs: 15_000 });
  rig.broker.drop();
  rig.broker.confirming = true;
  await until(() => rig.broker.reports.length >= 3, { what: 'three reports', timeoutMs: 15_000 });
  assertEverySlot([rig.broker]);
});

test('taken back: nothing more is fired, the last slot is told until it was heard, and older lists do not bring it back', async () => {
  await begin([{}]);
  await executed(2);
  const schedules = rig.broker.schedules;
  rig.broker.schedules = [];
  rig.broker.schedulesVersion = 5;
  rig.broker.list();
  const keep = await until(() => rig.broker.keeps.find(({ released }) => released.length > 0), { what: 'the release' });
  assert.deepEqual(keep.schedules, []);
  const last = keep.released[0]?.last ?? 0;
  rig.broker.schedules = schedules;
  rig.broker.schedulesVersion = 4;
  rig.broker.list();
  const count = executions().length;
  await sleep(2_200);
  assert.ok(executions().length <= count + 1);
  await until(() => rig.broker.reports.some(({ report }) => report.due === last), { what: 'the report of the last slot' });
  assert.equal(assertEverySlot([rig.broker]).at(-1), last);
  rig.broker.schedules = [];
  rig.broker.schedulesVersion = 5;
  rig.broker.drop();
  await until(() => rig.broker.keeps.at(-1)?.keep === 1 && rig.broker.keeps.at(-1)?.released.length === 0, {
    what: 'a KEEP without the release',
  });
  const slot = last + 1_000;
  rig.broker.schedules = [tick({ generation: 2, from: last, anchor: schedules[0]?.anchor ?? 0 })];
  rig.broker.schedulesVersion = 6;
  rig.broker.list();
  await until(() => rig.broker.reports.some(({ report }) => report.generation === 2), {
    what: 'reports of the next generation',
    timeoutMs: 15_000,
  });
  assert.equal(rig.broker.reports.find(({ report }) => report.generation === 2)?.report.due, slot);
});

test('without a word for as long as the schedule allows, it rests; with a word it goes on and accounts for the pause', async () => {
  await begin([{ offlineMs: 2_000 }]);
  await executed(1);
  cut();
  await until(() => rig.log.includes('rests: no broker has confirmed it'), { what: 'the rest', timeoutMs: 15_000 });
  const resting = executions().length;
  await sleep(2_500);
  assert.ok(executions().length <= resting + 1);
  const broker = await heal();
  await until(() => broker.reports.some(({ report }) => report.outcome === 'missed'), { what: 'missed slots', timeoutMs: 20_000 });
  // A report whose confirmation was lost with its broker comes again, word for word.
  const reports = new Map(rig.brokers.flatMap((one) => one.reports.map(({ report }) => [JSON.stringify(report), report])));
  const dues = [...reports.values()].flatMap(({ due, through }) =>
    Array.from({ length: through === undefined ? 1 : (through - due) / 1_000 + 1 }, (_, i) => due + i * 1_000),
  );
  assert.equal(new Set(dues).size, dues.length);
  assert.equal((Math.max(...dues) - Math.min(...dues)) / 1_000, dues.length - 1);
});

test('a damaged journal is put aside; what may have been fired is not fired again', async () => {
  await begin([{}]);
  await executed(2);
  await rig.kill();
  const file = rig.path('.triggerfs', 'journal', 'team1.demo01.db');
  writeFileSync(file, Buffer.alloc(8192, 'garbage'));
  writeFileSync(`${file}-wal`, '');
  const before = executions().length;
  rig.broker.schedules = rig.broker.schedules.map((one) => ({ ...one, taken: true }));
  const journal = rig.broker.keeps[0]?.journal;
  rig.broker.keeps = [];
  const reports = rig.broker.reports.length;
  const restarted = Date.now();
  rig.respawn();
  await until(() => executions().length >= before + 2, { what: 'executions with a new journal', timeoutMs: 15_000 });
  await rig.logged(/the journal of resident schedules is damaged .* a new one is begun/);
  assert.equal(rig.broker.keeps[0]?.journal, journal);
  assert.ok(readdirSync(rig.path('.triggerfs', 'journal')).some((name) => name.includes('.damaged-')));
  await until(() => rig.broker.reports.length > reports, { what: 'a report' });
  for (const { report } of rig.broker.reports.slice(reports)) assert.ok(report.due >= restarted, 'only slots after the loss');
  assert.equal(new Set(executions()).size, executions().length);
});

test('output is bounded for each fire and over all; what is dropped is marked, and no fire is forgotten', async () => {
  await begin([{ plugin: 'much/much', catchup: 'all', overlap: 'allow' }], { workers: ['journal_limit = "2MB"'] });
  rig.broker.confirming = false;
  await until(() => rig.broker.uploads >= 1, { what: 'a report', timeoutMs: 15_000 });
  await sleep(4_000);
  rig.broker.confirming = true;
  rig.broker.drop();
  const whole = (): boolean => rig.broker.reports.some(({ output }) => output.length > 512 * 1024);
  await until(() => rig.broker.reports.length >= 5 && whole(), { what: 'reports, and the newest output', timeoutMs: 20_000 });
  assertEverySlot([rig.broker]);
  const size = 3_145_728 + 'the end\n'.length;
  for (const { report, output } of rig.broker.reports.slice(0, 5)) {
    assert.equal(report.run?.verdict, 'ok');
    assert.ok(output.length <= 1024 * 1024);
    assert.ok((report.run?.droppedBytes ?? 0) >= size - 1024 * 1024);
    if (output.length > 0) assert.ok(output.endsWith('the end\n'), 'the newest output stays');
  }
  assert.ok(
    rig.broker.reports.some(({ output }) => output === ''),
    'the oldest output went',
  );
});

test('what this worker does not run is denied; where there is no room, a fire waits; time limits hold', async () => {
  await begin(
    [
      { schedule: 1, name: 'denied', plugin: 'much/much' },
      { schedule: 2, name: 'refused', denied: 'the service does not allow it' },
      { schedule: 3, name: 'limited', plugin: 'slow/slow', timeoutMs: 300 },
    ],
    { workers: ['plugins = ["tick/tick", "slow/slow"]', 'concurrency = 1'] },
  );
  const verdicts = (schedule: number): (string | undefined)[] =>
    rig.broker.reports
      .filter(({ report }) => report.schedule === schedule && report.run !== undefined)
      .map(({ report }) => report.run?.verdict);
  await until(() => [1, 2, 3].every((schedule) => verdicts(schedule).length >= 2), { what: 'reports of all three', timeoutMs: 20_000 });
  assert.deepEqual(new Set(verdicts(1)), new Set(['denied']));
  assert.deepEqual(new Set(verdicts(2)), new Set(['denied']));
  assert.deepEqual(new Set(verdicts(3)), new Set(['timeout']));
});

test('two processes with one journal: the second waits until the first has ended', async () => {
  await begin([{}]);
  await executed(1);
  const other = new Rig();
  try {
    await other.start({ lazy: true, workers: [`journal = "${rig.path('.triggerfs', 'journal')}"`], plugins: PLUGINS });
    other.broker.schedules = rig.broker.schedules;
    await until(() => /resident schedules are not kept: the journal .* is in use by another process/.test(other.log), {
      what: 'the refusal',
      timeoutMs: 15_000,
    });
    assert.equal(other.broker.keeps.length, 0);
    await rig.kill();
    await until(() => other.broker.keeps.length > 0, { what: 'the second one takes the journal', timeoutMs: 15_000 });
    assert.equal(other.broker.keeps[0]?.journal, rig.broker.keeps[0]?.journal);
    await executed(executions().length + 2);
    assert.equal(new Set(executions()).size, executions().length);
  } finally {
    await other.stop();
  }
});

test('SIGTERM: what runs ends and stands in the journal; it is reported after the next start', async () => {
  await begin([{ plugin: 'slow/slow', overlap: 'skip', timeoutMs: 30_000 }], { workers: ['grace = "20s"'] });
  await executed(1);
  rig.broker.confirming = false;
  rig.worker.kill('SIGTERM');
  await until(() => rig.exit !== null, { what: 'the end', timeoutMs: 20_000 });
  rig.broker.confirming = true;
  rig.broker.reports = [];
  rig.respawn();
  await until(() => rig.broker.reports.some(({ report }) => report.run?.verdict === 'ok'), { what: 'the report', timeoutMs: 15_000 });
  assert.equal(rig.broker.reports.find(({ report }) => report.run?.verdict === 'ok')?.output, 'begins\nends\n');
});
