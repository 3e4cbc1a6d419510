import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Claim } from '../../control-plane/queue/claim.ts';
import { decide } from '../../control-plane/queue/decision.ts';
import { OutputTail } from '../../control-plane/queue/output-tail.ts';
import { requestHash } from '../../runtime/acceptance/new-item.ts';

const CLAIM = { retries_left: 0, retried: 0, waits: 0, losses: 0, backoff_ms: 1000, age_ms: 60_000 } as Claim;
const OUTCOME = { verdict: 'failed', exitCode: 1, runs: 1, error: null, detail: '' } as const;
const full = (): number => 1;

test('what follows an attempt depends on its verdict', () => {
  const state = (claim: Partial<Claim>, outcome: Partial<Parameters<typeof decide>[1]>): string => {
    const { state, hold, retried, uncertain } = decide({ ...CLAIM, ...claim }, { ...OUTCOME, ...outcome }, full);
    return [state, hold && 'hold', retried && 'retried', uncertain && 'uncertain'].filter(Boolean).join(' ');
  };
  assert.equal(state({}, { verdict: 'ok' }), 'done');
  assert.equal(state({}, { verdict: 'cancelled', error: 'TFS_CANCELLED' }), 'cancelled');
  for (const verdict of ['failed', 'timeout', 'worker-lost'] as const) {
    assert.equal(state({}, { verdict }), 'dead', verdict);
    assert.equal(state({ retries_left: 1 }, { verdict }), 'queued retried', verdict);
  }
  assert.equal(state({}, { verdict: 'no-worker', error: 'TFS_NO_WORKER' }), 'queued hold');
  assert.equal(state({}, { verdict: 'no-worker', error: 'TFS_NO_BROKER' }), 'queued hold');
  assert.equal(state({}, { verdict: 'busy', error: 'TFS_BUSY' }), 'queued hold');
  assert.equal(state({}, { verdict: 'expired', error: 'TFS_EXPIRED' }), 'queued hold');
  // It may have run: the same invocation is asked for again.
  assert.equal(state({}, { verdict: 'worker-lost', error: 'TFS_BROKER_LOST' }), 'queued hold uncertain');
  // What an earlier attempt began is asked for again although this one reached nobody.
  assert.equal(state({ action: 'resume' }, { verdict: 'no-worker', error: 'TFS_NO_BROKER' }), 'queued hold uncertain');
  // A worker that was lost before anybody heard that it had begun: another one, at no cost; but not for ever.
  const lost = { verdict: 'no-worker', error: 'TFS_WORKER_LOST' } as const;
  assert.equal(state({}, lost), 'queued');
  assert.equal(state({ losses: 15 }, lost), 'queued');
  assert.equal(state({ losses: 16 }, lost), 'dead');
  assert.equal(state({ losses: 16, retries_left: 1 }, lost), 'queued retried');
  // It was begun, and ended with a worker that shut down.
  assert.equal(state({}, { verdict: 'failed', error: 'TFS_DRAINING' }), 'dead');
  assert.equal(state({ retries_left: 5 }, { verdict: 'denied', error: 'TFS_UNKNOWN_PLUGIN' }), 'dead');
  assert.equal(state({ retries_left: 5 }, { verdict: 'denied', error: 'TFS_UNKNOWN_SERVICE' }), 'dead');
  // A broker may not have heard yet of a service that was made a moment ago.
  assert.equal(state({ age_ms: 1000 }, { verdict: 'denied', error: 'TFS_UNKNOWN_SERVICE' }), 'queued hold');
});

test('pauses double, up to a limit, and have jitter', () => {
  const delay = (retried: number, random: number): number => decide({ ...CLAIM, retries_left: 1, retried }, OUTCOME, () => random).delayMs;
  assert.deepEqual(
    [0, 1, 2, 5].map((retried) => delay(retried, 1)),
    [1000, 2000, 4000, 32_000],
  );
  assert.equal(delay(0, 0), 500);
  assert.equal(delay(1000, 1), 3_600_000);
  const hold = (waits: number): number =>
    decide({ ...CLAIM, waits }, { ...OUTCOME, verdict: 'no-worker', error: 'TFS_NO_WORKER' }, full).delayMs;
  assert.deepEqual([0, 1, 4, 5, 30_000].map(hold), [500, 1000, 8000, 15_000, 15_000]);
});

test('the end of the output is kept', () => {
  const tail = new OutputTail(10);
  tail.push(Buffer.from('abc'));
  assert.equal(tail.bytes().toString(), 'abc');
  assert.equal(tail.truncated, false);
  tail.push(Buffer.from('defghijk'));
  assert.equal(tail.bytes().toString(), 'bcdefghijk');
  assert.equal(tail.truncated, true);
  tail.push(Buffer.from('0123456789ABCDEF'));
  assert.equal(tail.bytes().toString(), '6789ABCDEF');
  for (let n = 0; n < 1000; n += 1) tail.push(Buffer.from('x'));
  assert.equal(tail.bytes().toString(), 'x'.repeat(10));
});

test('requests with one idempotency key are told apart by everything that was asked for', () => {
  const item = {
    team: 1,
    source: 'api',
    caller: 'a',
    service: 's',
    plugin: 'p',
    payload: Buffer.from('x'),
    args: { a: '1', b: '2' },
  } as const;
  const same = requestHash(item);
  assert.equal(requestHash({ ...item, args: { b: '2', a: '1' }, caller: 'another' }), same);
  for (const other of [
    { payload: Buffer.from('y') },
    { args: { a: '1' } },
    { service: 't' },
    { delayMs: 5 },
    { onSuccess: { trigger: '/a' } },
  ]) {
    assert.notEqual(requestHash({ ...item, ...other }), same);
  }
});
