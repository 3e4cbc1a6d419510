import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { withoutOverlap } from '../../control-plane/schedules/overlap.ts';
import { type Recurrence, recurrenceOf } from '../../control-plane/schedules/recurrence.ts';
import { type Slot, settle } from '../../control-plane/schedules/slots.ts';
import { Wheel } from '../../control-plane/schedules/wheel.ts';
import type { CatchUp } from '../../protocol/http/schedule.ts';
import { FakeClock } from '../support/fake-clock.ts';

const HOUR = 3_600_000;
const START = Date.parse('2026-05-01T10:00:00Z');

function everyMinute(): Recurrence {
  return recurrenceOf({ cron: '* * * * *', everyMs: null, runAt: null, timezone: 'UTC', plannedFrom: START });
}

/** What becomes of slots from 10:00 on when they are looked at after so many milliseconds. */
function outcomes(late: number, catchup: CatchUp, windowMs = HOUR): { texts: string[]; next: string } {
  const { slots, next } = settle(everyMinute(), START, START + late, { catchup, windowMs });
  return { texts: slots.map(short), next: new Date(next ?? 0).toISOString().slice(11, 19) };
}

function short({ dueAt, outcome, throughAt }: Slot): string {
  const through = throughAt === null ? '' : `-${new Date(throughAt).toISOString().slice(11, 16)}`;
  return `${new Date(dueAt).toISOString().slice(11, 16)}${through} ${outcome}`;
}

suite('slots', () => {
  test('one slot: in time, late, and too late under each policy', () => {
    for (const policy of ['skip', 'one', 'all'] as const) {
      assert.deepEqual(outcomes(0, policy), { texts: ['10:00 fired'], next: '10:01:00' });
      assert.deepEqual(outcomes(1_000, policy).texts, ['10:00 fired']);
      assert.deepEqual(outcomes(1_001, policy).texts, ['10:00 late']);
      assert.deepEqual(outcomes(30_000, policy).texts, ['10:00 late']);
    }
    assert.deepEqual(outcomes(45_000, 'skip').texts, ['10:00 missed']);
    assert.deepEqual(outcomes(45_000, 'one').texts, ['10:00 caught-up']);
    assert.deepEqual(outcomes(45_000, 'all').texts, ['10:00 caught-up']);
  });

  test('five missed slots under each policy', () => {
    const late = 4 * 60_000 + 40_000;
    const missed = ['10:00 missed', '10:01 missed', '10:02 missed', '10:03 missed'];
    assert.deepEqual(outcomes(late, 'skip'), { texts: [...missed, '10:04 missed'], next: '10:05:00' });
    assert.deepEqual(outcomes(late, 'one'), { texts: [...missed, '10:04 caught-up'], next: '10:05:00' });
    assert.deepEqual(outcomes(late, 'all'), {
      texts: ['10:00 caught-up', '10:01 caught-up', '10:02 caught-up', '10:03 caught-up', '10:04 caught-up'],
      next: '10:05:00',
    });
    // The newest is only late when the control-plane is back in time for it.
    assert.deepEqual(outcomes(4 * 60_000 + 5_000, 'skip').texts, [...missed, '10:04 late']);
  });

  test('slots that are older than the window are not caught up', () => {
    assert.deepEqual(outcomes(4 * 60_000 + 40_000, 'all', 3 * 60_000).texts, [
      '10:00 missed',
      '10:01 missed',
      '10:02 caught-up',
      '10:03 caught-up',
      '10:04 caught-up',
    ]);
    assert.deepEqual(outcomes(45_000, 'one', 40_000).texts, ['10:00 missed']);
    assert.deepEqual(outcomes(45_000, 'one', 0).texts, ['10:00 missed']);
  });

  test('at most a hundred slots are caught up, and every slot has its row', () => {
    const { texts } = outcomes(299 * 60_000 + 40_000, 'all', 24 * HOUR);
    assert.equal(texts.length, 300);
    assert.equal(texts.filter((text) => text.endsWith('caught-up')).length, 100);
    assert.equal(texts[199], '13:19 missed');
    assert.equal(texts[200], '13:20 caught-up');
  });

  test('after weeks, one row stands for what is older than the newest hundred', () => {
    const weeks = 21 * 24 * HOUR + 40_000;
    const { slots, next } = settle(everyMinute(), START, START + weeks, { catchup: 'all', windowMs: 366 * 24 * HOUR });
    assert.equal(slots.length, 101);
    assert.deepEqual(slots[0], {
      dueAt: START,
      outcome: 'missed',
      throughAt: (slots[1] as Slot).dueAt - 60_000,
      reason: 'nothing could fire them in time',
    });
    assert.ok(slots.slice(1).every(({ outcome }) => outcome === 'caught-up'));
    assert.equal(next, START + 21 * 24 * HOUR + 60_000);
    const second = recurrenceOf({ cron: null, everyMs: 1_000, runAt: null, timezone: 'UTC', plannedFrom: START });
    const seconds = settle(second, START + 1_000, START + 365 * 24 * HOUR, { catchup: 'one', windowMs: HOUR });
    assert.equal(seconds.slots.length, 101);
    assert.equal(seconds.slots.at(-1)?.outcome, 'fired');
  });

  test('a single time that nobody could fire', () => {
    const once = recurrenceOf({ cron: null, everyMs: null, runAt: START, timezone: 'UTC', plannedFrom: START });
    const at = (late: number): unknown => {
      const { slots, next } = settle(once, START, START + late, { catchup: 'one', windowMs: HOUR });
      return [slots.map(({ outcome }) => outcome), next];
    };
    assert.deepEqual(at(10), [['fired'], null]);
    assert.deepEqual(at(HOUR), [['caught-up'], null]);
    assert.deepEqual(at(HOUR + 1), [['missed'], null]);
  });

  test('overlap: skip gives up, queue lets one wait, allow runs beside', () => {
    const slots: Slot[] = [{ dueAt: START, outcome: 'fired', throughAt: null, reason: '' }];
    const with_ = (overlap: 'skip' | 'queue' | 'allow', open: number): string => withoutOverlap(slots, overlap, open)[0]?.outcome ?? '';
    assert.deepEqual(
      [0, 1, 2].map((open) => with_('skip', open)),
      ['fired', 'skipped', 'skipped'],
    );
    assert.deepEqual(
      [0, 1, 2].map((open) => with_('queue', open)),
      ['fired', 'fired', 'skipped'],
    );
    assert.deepEqual(
      [0, 1, 50].map((open) => with_('allow', open)),
      ['fired', 'fired', 'fired'],
    );
    const caughtUp: Slot[] = [
      { ...(slots[0] as Slot), outcome: 'caught-up' },
      { ...(slots[0] as Slot), outcome: 'late' },
    ];
    assert.deepEqual(
      withoutOverlap(caughtUp, 'skip', 1).map(({ outcome }) => outcome),
      ['caught-up', 'skipped'],
    );
  });
});

suite('wheel', () => {
  test('hands over together what is due in one tick, never early, in the order of time', () => {
    const clock = new FakeClock('2026-05-01T10:00:00Z');
    const turns: [number, readonly string[]][] = [];
    const wheel = new Wheel<string>(clock, (items) => void turns.push([clock.now() - START, items]));
    wheel.add(START + 1_002, 'b');
    wheel.add(START + 1_009, 'c');
    wheel.add(START + 500, 'a');
    wheel.add(START - 5_000, 'overdue');
    assert.equal(wheel.size, 4);
    clock.advance(499);
    clock.advance(1);
    clock.advance(2_000);
    assert.deepEqual(turns, [
      [0, ['overdue']],
      [500, ['a']],
      [1_010, ['b', 'c']],
    ]);
    wheel.add(START + 9_000, 'forgotten');
    wheel.clear();
    clock.advance(60_000);
    assert.equal(turns.length, 3);
    assert.equal(wheel.size, 0);
  });
});
