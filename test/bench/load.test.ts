import assert from 'node:assert/strict';
import { test } from 'node:test';
import { PacketReader, PacketType, packet } from '../../bench/gearman/packets.ts';
import { ClosedLoop, type Exchange } from '../../bench/roles/closed-loop.ts';

test('a closed loop keeps its window full and counts good answers', async () => {
  let open = 0;
  let most = 0;
  const requester = {
    request: (exchange: Exchange) => {
      open += 1;
      most = Math.max(most, open);
      setImmediate(() => {
        open -= 1;
        exchange.answered(exchange.payload.subarray(0, 10));
        exchange.answered(exchange.payload.subarray(10));
        exchange.done(null);
      });
    },
  };
  const result = await new ClosedLoop(requester, { window: 7, ms: 50, payloadBytes: 128 }).run();
  assert.equal(most, 7);
  assert.equal(open, 0);
  assert.ok(result.requests > 7);
  assert.equal(result.failures, 0);
  assert.ok(result.p50 > 0 && result.p50 <= result.p99);
});

for (const { what, answer, expected } of [
  { what: 'an answer to another request', answer: (payload: Buffer) => Buffer.alloc(payload.length), expected: /of another request/ },
  { what: 'an answer that is cut', answer: (payload: Buffer) => payload.subarray(1), expected: /answered with 127 bytes/ },
  { what: 'no answer', answer: () => Buffer.alloc(0), expected: /answered with 0 bytes/ },
]) {
  test(`a closed loop notices ${what}`, async () => {
    const requester = {
      request: (exchange: Exchange) =>
        void setImmediate(() => {
          exchange.answered(answer(exchange.payload));
          exchange.done(null);
        }),
    };
    const result = await new ClosedLoop(requester, { window: 1, ms: 20, payloadBytes: 128 }).run();
    assert.ok(result.failures > 0);
    assert.match(result.firstFailure ?? '', expected);
  });
}

test('Gearman packets survive any cut of the stream', () => {
  const stream = Buffer.concat([
    packet(PacketType.jobCreated, 'H:host:1'),
    packet(PacketType.noop),
    packet(PacketType.workComplete, 'H:host:1', 'data'),
  ]);
  for (let size = 1; size <= stream.length; size += 1) {
    const seen: string[] = [];
    const reader = new PacketReader((type, data) => seen.push(`${type} ${data.toString('latin1')}`));
    for (let at = 0; at < stream.length; at += size) reader.push(stream.subarray(at, at + size));
    assert.deepEqual(seen, ['8 H:host:1', '6 ', '13 H:host:1\0data'], `pieces of ${size} bytes`);
  }
});
