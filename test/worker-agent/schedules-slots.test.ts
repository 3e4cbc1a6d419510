import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { recurrenceOf } from '../../control-plane/schedules/recurrence.ts';
import { settle } from '../../control-plane/schedules/slots.ts';
import type { ResidentSchedule } from '../../protocol/resident.ts';
import { Clockwork } from '../../worker-agent/schedules/clockwork.ts';
import { dueSlots } from '../../worker-agent/schedules/due.ts';
import { Keeper } from '../../worker-agent/schedules/keeper.ts';
import { slotsOf } from '../../worker-agent/schedules/slots.ts';
import { randomNumbers } from '../support/random.ts';
import { definition } from './resident-definition.ts';

const HOUR = 3_600_000;

/** Lets a schedule run on a clock of the test and returns when each slot was fired. */
async function simulate(
  t: TestContext,
  schedule: ResidentSchedule,
  from: number,
  hours: number,
  jump?: (now: number) => number | null,
): Promise<{ due: number; at: number; outcome: string }[]> {
  t.mock.timers.enable({ apis: ['setTimeout', 'setImmediate', 'Date'], now: from });
  const fired: { due: number; at: number; outcome: string }[] = [];
  const keeper = new Keeper(schedule, from, null);
  const clock: Clockwork = new Clockwork(() => {
    const fires = keeper.due(Date.now());
    keeper.advance(fires);
    for (const fire of fires) fired.push({ due: fire.due, at: Date.now(), outcome: fire.outcome });
    clock.arm([keeper]);
  });
  clock.add(keeper);
  clock.arm([keeper]);
  for (let end = from + hours * HOUR; Date.now() < end; ) {
    const to = jump?.(Date.now()) ?? null;
    if (to !== null) t.mock.timers.setTime(to);
    t.mock.timers.tick(1_000);
    // node-cron decides in promises.
    await Promise.resolve();
    t.mock.timers.tick(1);
  }
  clock.stop();
  t.mock.timers.reset();
  return fired;
}

test('slots and what is done about them are those of the control-plane', () => {
  const below = randomNumbers(20_261_121);
  const zones = ['UTC', 'America/New_York', 'America/Sao_Paulo', 'Australia/Lord_Howe'];
  const crons = ['*/7 * * * * *', '*/10 * * * *', '30 2 * * *', '0 0 * * *', '15 1 * * 0', '0 0 1 * *', '@hourly', '0 9-17 * * 1-5'];
  for (let round = 0; round < 400; round += 1) {
    const start = Date.parse('2018-01-01T00:00:00Z') + below(9 * 365 * 24 * 60) * 60_000 + below(1000);
    const everyMs = below(2) === 0 ? null : 1000 * (1 + below(100));
    const rule = {
      cron: everyMs === null ? (crons[below(crons.length)] as string) : null,
      timezone: zones[below(zones.length)] as string,
      everyMs,
      anchor: start - below(100_000),
      runAt: null,
    };
    const catchup = (['skip', 'one', 'all'] as const)[below(3)] as 'skip';
    const windowMs = below(3) * HOUR;
    const now = start + below(round % 4 === 0 ? 5 * 24 * HOUR : 200_000);
    const recurrence = recurrenceOf({ ...rule, plannedFrom: rule.anchor });
    const first = recurrence.next(start);
    const expected = first === null || first > now ? [] : settle(recurrence, first, now, { catchup, windowMs }).slots;
    const actual = dueSlots(slotsOf(rule), { catchup, catchupWindowMs: windowMs, offsetMs: 0 }, start, now);
    assert.deepEqual(
      actual.map((slot) => [slot.due, slot.through, slot.outcome, slot.reason]),
      expected.map((slot) => [slot.dueAt, slot.throughAt, slot.outcome, slot.reason]),
      `${JSON.stringify(rule)} from ${start} to ${now}, ${catchup}`,
    );
  }
});

test('the hour that is repeated in autumn: node-cron is silent in it, the slots are not', async (t) => {
  const from = Date.parse('2026-11-01T04:59:30Z');
  const fired = await simulate(t, definition({ cron: '*/5 * * * *', timezone: 'America/New_York' }), from, 3);
  const expected = Array.from({ length: 36 }, (_, i) => Date.parse('2026-11-01T05:00:00Z') + i * 300_000);
  assert.deepEqual(
    fired.map(({ due }) => due),
    expected,
  );
  for (const { due, at, outcome } of fired) {
    // A quarter of a second for node-cron to ring, and a step of this test's clock.
    assert.ok(at - due <= 1_300, `${new Date(due).toISOString()} fired ${at - due} ms late`);
    assert.equal(outcome, at - due <= 1_000 ? 'fired' : 'late');
  }
});

test('the hour that is left out in spring: its slots come right after it, once', async (t) => {
  const newYork = await simulate(
    t,
    definition({ cron: '30 2 * * *', timezone: 'America/New_York' }),
    Date.parse('2026-03-08T05:00:00Z'),
    30,
  );
  assert.deepEqual(
    newYork.map(({ due }) => new Date(due).toISOString()),
    ['2026-03-08T07:00:00.000Z', '2026-03-09T06:30:00.000Z'],
  );
  const saoPaulo = await simulate(
    t,
    definition({ cron: '0 0 * * *', timezone: 'America/Sao_Paulo' }),
    Date.parse('2018-11-04T01:00:00Z'),
    30,
  );
  assert.deepEqual(
    saoPaulo.map(({ due }) => new Date(due).toISOString()),
    ['2018-11-04T03:00:00.000Z', '2018-11-05T02:00:00.000Z'],
  );
});

test('a clock that is moved forward loses no slot, one that is moved back fires none twice', async (t) => {
  const from = Date.parse('2026-06-01T12:00:00.500Z');
  let jumps = 0;
  const fired = await simulate(t, definition({ everyMs: 10_000, anchor: from - 500, catchup: 'all' }), from, 0.1, (now) => {
    if (jumps === 0 && now > from + 60_000) {
      jumps += 1;
      return now + 120_000;
    }
    return null;
  });
  const dues = fired.map(({ due }) => due);
  assert.equal(new Set(dues).size, dues.length);
  assert.deepEqual(
    dues,
    Array.from({ length: dues.length }, (_, i) => from - 500 + (i + 1) * 10_000),
  );
  assert.ok(fired.filter(({ outcome }) => outcome === 'caught-up').length >= 11);

  const keeper = new Keeper(definition({ everyMs: 1_000, anchor: 0 }), 50_000, null);
  const first = keeper.due(60_000);
  keeper.advance(first);
  assert.deepEqual(keeper.due(55_000), []);
  assert.deepEqual(keeper.due(60_999), []);
  assert.deepEqual(
    keeper.due(61_000).map(({ due }) => due),
    [61_000],
  );
});

test('jitter delays every slot by the same time, and one time is fired once', async (t) => {
  const from = Date.parse('2026-06-01T12:00:00Z');
  const late = await simulate(t, definition({ cron: '*/10 * * * * *', offsetMs: 3_210 }), from, 0.02);
  assert.ok(late.length >= 6);
  for (const { due, at } of late) assert.ok(at - due >= 3_210 && at - due < 4_300, `${at - due} ms`);
  const once = await simulate(t, definition({ runAt: from + 5_000 }), from, 0.02);
  assert.deepEqual(
    once.map(({ due }) => due),
    [from + 5_000],
  );
});

test('a pause leaves its slots out', () => {
  const keeper = new Keeper(definition({ everyMs: 1_000, anchor: 0, pausedUntil: 10_000 }), 0, null);
  assert.equal(keeper.nextAt, 10_000);
  assert.deepEqual(
    keeper.due(10_500).map(({ due, outcome }) => [due, outcome]),
    [[10_000, 'fired']],
  );
});

test('what a slot does while an earlier fire runs', () => {
  const outcomes = (overlap: 'skip' | 'queue' | 'allow'): unknown[] => {
    const keeper = new Keeper(definition({ everyMs: 1_000, anchor: 0, overlap }), 0, null);
    const seen: unknown[] = [];
    for (let slot = 1; slot <= 4; slot += 1) {
      const [fire] = keeper.due(slot * 1_000);
      if (fire === undefined) throw new Error('no fire');
      keeper.advance([fire]);
      const entry = { ...fire, sequence: slot, end: null };
      if (fire.run !== null && fire.waits) keeper.waits(entry);
      else if (fire.run !== null) keeper.runs(entry);
      seen.push([fire.outcome, fire.run !== null && !fire.waits]);
    }
    seen.push(keeper.ended(1)?.sequence ?? null);
    return seen;
  };
  assert.deepEqual(outcomes('skip'), [['fired', true], ['skipped', false], ['skipped', false], ['skipped', false], null]);
  assert.deepEqual(outcomes('queue'), [['fired', true], ['fired', false], ['skipped', false], ['skipped', false], 2]);
  assert.deepEqual(outcomes('allow'), [['fired', true], ['fired', true], ['fired', true], ['fired', true], null]);
});
