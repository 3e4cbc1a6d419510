import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { createTask } from 'node-cron';
import { assertCron, assertTimeZone, type Recurrence, recurrenceOf } from '../../control-plane/schedules/recurrence.ts';
import { randomNumbers } from '../support/random.ts';

function cron(expression: string, timezone = 'UTC'): Recurrence {
  return recurrenceOf({ cron: expression, everyMs: null, runAt: null, timezone, plannedFrom: 0 });
}

function nextRuns(recurrence: Recurrence, from: string, count: number): string[] {
  const runs: string[] = [];
  for (let time: number | null = Date.parse(from); runs.length < count; ) {
    time = recurrence.next(time);
    if (time === null) break;
    runs.push(new Date(time).toISOString().replace('.000Z', 'Z'));
  }
  return runs;
}

suite('recurrence', () => {
  test('what is accepted is read in the same way by croner here and by node-cron on workers', () => {
    const random = randomNumbers(20261121);
    const pick = <T>(items: readonly T[]): T => items[random(items.length)] as T;
    const number = (low: number, high: number): number => low + random(high - low + 1);
    const field = (low: number, high: number): string => {
      const a = number(low, high);
      const b = number(a, high);
      return pick(['*', `${a}`, `${a}-${b}`, `*/${number(2, 7)}`, `${a},${b}`, `${a}-${b}/${number(1, 4)}`]);
    };
    let compared = 0;
    for (let round = 0; round < 400; round += 1) {
      const [day, weekday] = pick([
        [field(1, 28), '*'],
        ['*', pick([field(0, 6), 'MON', 'mon-fri', 'SUN,WED'])],
        ['*', '*'],
      ]) as [string, string];
      const month = pick([field(1, 12), '*', '*', 'JAN', 'jun-aug']);
      const seconds = random(10) < 3 ? `${field(0, 59)} ` : '';
      const expression = `${seconds}${field(0, 59)} ${field(0, 23)} ${day} ${month} ${weekday}`;
      assert.doesNotThrow(() => assertCron(expression), expression);
      const task = createTask(expression, () => undefined, { timezone: 'UTC' });
      const now = Date.now();
      const expected = task.getNextRuns(3).map((date) => date.toISOString().replace('.000Z', 'Z'));
      void task.destroy();
      const ours = nextRuns(cron(expression), new Date(now).toISOString(), 4);
      // A slot may pass between the two readings of the clock.
      const start = ours.indexOf(expected[0] as string);
      assert.ok(start === 0 || start === 1, `${expression}: ${ours} and ${expected}`);
      assert.deepEqual(ours.slice(start, start + 3), expected, expression);
      compared += 1;
    }
    assert.equal(compared, 400);
  });

  test('what is refused says why', () => {
    for (const [expression, why] of [
      ['61 * * * *', /minute 61 is not possible/],
      ['* 25 * * *', /hour 25 is not possible/],
      ['* * * * 9', /day of week 9 is not possible/],
      ['* * * *', /expected 5 or 6 fields but got 4/],
      ['', /illegal characters/],
      ['@sometimes', /cron "@sometimes"/],
      ['0 0 13 * 5', /both restricted.*two schedules/],
      ['0 0 */2 * 5', /both restricted/],
      ['0 0 31 2 *', /./],
      ['0 22-2 * * *', /./],
      ['H * * * *', /./],
      ['0 0 0 1 1 * 2030', /./],
    ] as const) {
      assert.throws(
        () => assertCron(expression),
        (error: { code: string; message: string }) => {
          assert.equal(error.code, 'TFS_BAD_REQUEST', expression);
          assert.match(error.message, why, expression);
          return true;
        },
      );
    }
    for (const good of ['@daily', '@HOURLY', ' 0 3 * * * ', '*/10 * * * * *', '0 9 * * MON-FRI', '0 0 L * *', '0 0 ? * 5'])
      assertCron(good);
    for (const bad of ['Mars/Olympus', '+02:00', '', 'America']) assert.throws(() => assertTimeZone(bad), /there is no time zone/, bad);
    for (const good of ['UTC', 'America/New_York', 'Asia/Kolkata']) assertTimeZone(good);
  });

  test('spring and autumn in New York', () => {
    const spring = '2026-03-07T12:00:00Z';
    // 02:30 does not exist on 8 March: once, when the clocks have gone forward.
    assert.deepEqual(nextRuns(cron('30 2 * * *', 'America/New_York'), spring, 2), ['2026-03-08T07:00:00Z', '2026-03-09T06:30:00Z']);
    assert.deepEqual(nextRuns(cron('0 * * * *', 'America/New_York'), '2026-03-08T05:30:00Z', 3), [
      '2026-03-08T06:00:00Z',
      '2026-03-08T07:00:00Z',
      '2026-03-08T08:00:00Z',
    ]);
    // 01:30 exists twice on 1 November: once. Every half hour goes on through both hours.
    assert.deepEqual(nextRuns(cron('30 1 * * *', 'America/New_York'), '2026-10-31T12:00:00Z', 2), [
      '2026-11-01T05:30:00Z',
      '2026-11-02T06:30:00Z',
    ]);
    assert.deepEqual(nextRuns(cron('*/30 * * * *', 'America/New_York'), '2026-11-01T04:45:00Z', 5), [
      '2026-11-01T05:00:00Z',
      '2026-11-01T05:30:00Z',
      '2026-11-01T06:00:00Z',
      '2026-11-01T06:30:00Z',
      '2026-11-01T07:00:00Z',
    ]);
  });

  test('spring and autumn in São Paulo, where midnight itself was missing and came twice', () => {
    // 4 November 2018 began at 01:00, 18 February 2018 had its last hour twice.
    assert.deepEqual(nextRuns(cron('0 0 * * *', 'America/Sao_Paulo'), '2018-11-03T12:00:00Z', 2), [
      '2018-11-04T03:00:00Z',
      '2018-11-05T02:00:00Z',
    ]);
    assert.deepEqual(nextRuns(cron('30 23 * * *', 'America/Sao_Paulo'), '2018-02-17T12:00:00Z', 2), [
      '2018-02-18T01:30:00Z',
      '2018-02-19T02:30:00Z',
    ]);
    assert.deepEqual(nextRuns(cron('0 * * * *', 'America/Sao_Paulo'), '2018-02-18T00:30:00Z', 4), [
      '2018-02-18T01:00:00Z',
      '2018-02-18T02:00:00Z',
      '2018-02-18T03:00:00Z',
      '2018-02-18T04:00:00Z',
    ]);
    // Since 2019 there is no summer time.
    assert.deepEqual(nextRuns(cron('0 0 * * *', 'America/Sao_Paulo'), '2026-11-01T12:00:00Z', 2), [
      '2026-11-02T03:00:00Z',
      '2026-11-03T03:00:00Z',
    ]);
  });

  test('periods are counted from their start, whatever clocks do; one time is one time', () => {
    const from = Date.parse('2026-03-08T06:59:55.500Z');
    const every = recurrenceOf({ cron: null, everyMs: 10_000, runAt: null, timezone: 'America/New_York', plannedFrom: from });
    assert.equal(every.next(from - 50_000), from + 10_000);
    assert.equal(every.next(from), from + 10_000);
    assert.equal(every.next(from + 10_000), from + 20_000);
    assert.equal(every.next(from + 10_001), from + 20_000);
    assert.deepEqual(every.previous(from + 35_000, 2), [from + 30_000, from + 20_000]);
    assert.deepEqual(every.previous(from + 9_000, 2), []);
    const once = recurrenceOf({ cron: null, everyMs: null, runAt: from, timezone: 'UTC', plannedFrom: from + 1 });
    assert.deepEqual([once.next(0), once.next(from), once.previous(from, 5)], [from, null, [from]]);
  });

  test('slots before a time, newest first', () => {
    const minutes = cron('* * * * *');
    const at = (text: string): number => Date.parse(text);
    assert.deepEqual(minutes.previous(at('2026-05-01T10:00:00Z'), 2), [at('2026-05-01T10:00:00Z'), at('2026-05-01T09:59:00Z')]);
    assert.deepEqual(minutes.previous(at('2026-05-01T10:00:00.400Z'), 1), [at('2026-05-01T10:00:00Z')]);
    assert.deepEqual(minutes.previous(at('2026-05-01T09:59:59.999Z'), 1), [at('2026-05-01T09:59:00Z')]);
  });
});
