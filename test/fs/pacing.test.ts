import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { Pacing } from '../../fs/pacing.ts';

/** A clock that only moves when told. */
function clock(t: TestContext): (ms: number) => void {
  let now = 1_000_000;
  t.mock.method(performance, 'now', () => now);
  t.mock.method(Date, 'now', () => now);
  return (ms) => {
    now += ms;
  };
}

function write(pacing: Pacing, count: number): void {
  for (let i = 0; i < count; i += 1) pacing.written();
}

test('single writes and a busy log are sent eagerly', (t) => {
  const pass = clock(t);
  const pacing = new Pacing();
  assert.equal(pacing.eager, true);
  for (let step = 0; step < 10; step += 1) {
    write(pacing, 50);
    pass(10);
    pacing.step(Date.now());
    assert.equal(pacing.eager, true, '5000 writes a second are no burst');
  }
});

test('a burst is sent in larger steps until it ends', (t) => {
  const pass = clock(t);
  const pacing = new Pacing();
  const eagerly = pacing.gatherMs;
  write(pacing, 200);
  pass(10);
  pacing.step(Date.now());
  assert.equal(pacing.burst, true);
  assert.ok(pacing.gatherMs > eagerly);
  pass(50);
  pacing.step(Date.now());
  assert.equal(pacing.burst, false);
});

test('a burst that does not end is sent as fast as possible once messages are 5 s old', (t) => {
  const pass = clock(t);
  const pacing = new Pacing();
  const oldestAt = Date.now();
  let waited = 0;
  do {
    write(pacing, 1000);
    pass(50);
    waited += 50;
    pacing.step(oldestAt);
  } while (pacing.burst && waited < 60_000);
  assert.ok(waited >= 5_000 && waited <= 5_100, String(waited));
});
