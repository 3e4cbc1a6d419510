import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MaintenanceClock } from '../../edge-broker/directory/maintenance-clock.ts';

test('maintenance begins once, at its time', (t) => {
  t.mock.timers.enable({ apis: ['Date', 'setTimeout'], now: 1_000_000 });
  let begun = 0;
  const clock = new MaintenanceClock(() => (begun += 1));
  clock.update([]);
  clock.update([{ id: 1, startsAt: 1_000_000 + 50_000_000 }]);
  clock.update([{ id: 1, startsAt: 1_000_000 + 100_000_000 }]);
  t.mock.timers.tick(99_999_999);
  assert.equal(begun, 0);
  t.mock.timers.tick(1);
  assert.equal(begun, 1);
  clock.update([
    { id: 1, startsAt: 1 },
    { id: 2, startsAt: 2 },
  ]);
  assert.equal(begun, 1);
});

test('what had begun before the start is left alone, what is taken back does not take place', (t) => {
  t.mock.timers.enable({ apis: ['Date', 'setTimeout'], now: 1_000_000 });
  let begun = 0;
  const clock = new MaintenanceClock(() => (begun += 1));
  clock.update([
    { id: 1, startsAt: 999_000 },
    { id: 2, startsAt: 1_010_000 },
  ]);
  clock.update([{ id: 1, startsAt: 999_000 }]);
  t.mock.timers.tick(20_000);
  assert.equal(begun, 0);
  // Read late: it began while the database was away.
  clock.update([{ id: 3, startsAt: 1_015_000 }]);
  assert.equal(begun, 1);
});

test('a stopped clock begins nothing', (t) => {
  t.mock.timers.enable({ apis: ['Date', 'setTimeout'], now: 1_000_000 });
  const clock = new MaintenanceClock(() => assert.fail('it was stopped'));
  clock.update([{ id: 1, startsAt: 1_001_000 }]);
  clock.stop();
  t.mock.timers.tick(2_000);
  clock.update([{ id: 2, startsAt: 1_003_000 }]);
  t.mock.timers.tick(2_000);
});
