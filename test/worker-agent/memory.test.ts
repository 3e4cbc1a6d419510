import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { Verdict } from '../../protocol/verdicts.ts';
import { ChunkQueue } from '../../worker-agent/runs/chunk-queue.ts';
import { DeadlineTimer } from '../../worker-agent/runs/deadline-timer.ts';
import { exited } from '../../worker-agent/runs/outcome.ts';
import { RecentInvocations, UNKNOWN } from '../../worker-agent/runs/recent-invocations.ts';
import { ResultJournal } from '../../worker-agent/runs/result-journal.ts';
import { until } from '../support/wait.ts';

function drainAll(queue: ChunkQueue, limit: number, chunkLimit = 1 << 20): [number, string][] {
  const seen: [number, string][] = [];
  queue.drain(limit, chunkLimit, (flags, source, start, end) => seen.push([flags, source.toString('latin1', start, end)]));
  return seen;
}

function append(queue: ChunkQueue, flags: number, text: string): void {
  const data = Buffer.from(`..${text}`);
  queue.append(flags, data, 2, data.length);
}

test('a queue of chunks gives back what it got, in the sizes asked for', () => {
  const queue = new ChunkQueue();
  append(queue, 0, 'hello');
  append(queue, 1, 'error');
  append(queue, 0, '');
  append(queue, 0, 'x'.repeat(2000));
  assert.equal(queue.bytes, 2010);
  assert.deepEqual(drainAll(queue, 3), [[0, 'hel']]);
  assert.deepEqual(drainAll(queue, 4, 3), [
    [0, 'lo'],
    [1, 'er'],
  ]);
  assert.deepEqual(drainAll(queue, 1003, 1000), [
    [1, 'ror'],
    [0, 'x'.repeat(1000)],
  ]);
  assert.equal(queue.bytes, 1000);
  assert.equal(drainAll(queue, 5000).length, 1);
  assert.deepEqual([queue.bytes, queue.encodedBytes, drainAll(queue, 10)], [0, 0, []]);
});

test('a queue of chunks is the same as a list, whatever is done with it', () => {
  const queue = new ChunkQueue();
  let expected = '';
  let state = 1;
  const random = (limit: number): number => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return (state >>> 8) % limit;
  };
  for (let round = 0; round < 3000; round += 1) {
    if (random(2) === 0) {
      const text = String.fromCharCode(97 + random(26)).repeat(1 + random(300));
      append(queue, 0, text);
      expected += text;
    } else {
      const got = drainAll(queue, random(500))
        .map(([, text]) => text)
        .join('');
      assert.equal(got, expected.slice(0, got.length));
      expected = expected.slice(got.length);
    }
    assert.equal(queue.bytes, expected.length);
  }
});

test('trimming drops whole chunks from the front', () => {
  const queue = new ChunkQueue();
  for (const text of ['aaaa', 'bbbb', 'cc']) append(queue, 0, text);
  assert.equal(queue.trim(100), 0);
  assert.equal(queue.trim(7), 4);
  assert.deepEqual(
    drainAll(queue, 100).map(([, text]) => text),
    ['bbbb', 'cc'],
  );
});

test('invocations are found until newer ones push them out, and live ones are never pushed out', () => {
  const recent = new RecentInvocations<string>(64);
  const ids = Array.from({ length: 200 }, () => randomBytes(16));
  const live = recent.add(1, ids[0] as Buffer, 0, 3, 'live');
  for (const id of ids.slice(1)) recent.settle(recent.add(1, id, 0, 0, 'x'), 5);
  assert.deepEqual([recent.find(1, ids[0] as Buffer, 0), recent.value(live), recent.attempt(live)], [live, 'live', 3]);
  const known = ids.slice(1).filter((id) => recent.find(1, id, 0) !== UNKNOWN);
  assert.deepEqual(known, ids.slice(-63));
  const copy = Buffer.alloc(20);
  recent.copyId(live, copy, 2);
  assert.ok(copy.subarray(2, 18).equals(ids[0] as Buffer));
});

test('of two entries of one invocation the newer is found, and a removed one is gone', () => {
  const recent = new RecentInvocations<string>(16);
  const id = Buffer.concat([Buffer.from('xx'), randomBytes(16)]);
  const first = recent.add(1, id, 2, 0, 'a');
  const second = recent.add(1, id, 2, 1, 'b');
  assert.equal(recent.find(1, id, 2), second);
  assert.equal(recent.find(2, id, 2), UNKNOWN, 'another team’s');
  recent.remove(second);
  assert.equal(recent.find(1, id, 2), first);
  recent.remove(first);
  assert.equal(recent.find(1, id, 2), UNKNOWN);
});

test('results are kept until newer ones overwrite them', () => {
  const journal = new ResultJournal(1000);
  const queue = new ChunkQueue();
  append(queue, 1, 'kept');
  const outcome = { verdict: Verdict.failed, exitCode: -3, signal: 9, error: 49, detail: 'dëtail' };
  const read = (place: number): unknown => {
    const kept = journal.load(place);
    const chunks: [number, string][] = [];
    kept?.replay((flags, source, start, end) => chunks.push([flags, source.toString('latin1', start, end)]));
    return kept === null ? null : [kept.outcome, kept.durationUs, kept.dropped, chunks];
  };
  const first = journal.store({ outcome, durationUs: 12, dropped: 5, queues: [queue, null] });
  assert.deepEqual(read(first), [outcome, 12, 5, [[1, 'kept']]]);
  const places: number[] = [];
  for (let i = 0; i < 40; i += 1) {
    const data = Buffer.from(`output ${i}`);
    places.push(journal.storeChunk({ outcome: exited(0), durationUs: i, dropped: 0, queues: [] }, 0, data, 0, data.length));
    assert.deepEqual(read(places.at(-1) as number), [exited(0), i, 0, [[0, `output ${i}`]]]);
  }
  assert.equal(read(first), null);
  const kept = places.filter((place) => read(place) !== null);
  assert.ok(kept.length > 15 && kept.length < 40, `${kept.length}`);
  assert.deepEqual(kept, places.slice(-kept.length));
});

test('the timer of deadlines fires for the earliest, and again for the next', async () => {
  const begin = performance.now();
  const deadlines = [40, 80, 120].map((delay) => begin + delay);
  const passed: number[] = [];
  const timer = new DeadlineTimer(() => {
    const now = performance.now();
    passed.push(deadlines.filter((deadline) => deadline <= now).length);
    return deadlines.find((deadline) => deadline > now) ?? Number.POSITIVE_INFINITY;
  });
  for (const deadline of [...deadlines].reverse()) timer.add(deadline, begin);
  await until(() => passed.at(-1) === 3, { what: 'three deadlines', timeoutMs: 2000 });
  // A timer of the system may fire a moment early, and is then set once more.
  assert.ok(passed.length <= 6, `${passed}`);
  timer.add(performance.now() + 10, performance.now());
  timer.stop();
});
