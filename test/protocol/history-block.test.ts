import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BLOCK_HEAD_BYTES, FRAME_HEAD_BYTES, historyDay, readBlock, writeBlockHead, writeFrame } from '../../protocol/history-block.ts';

const PIECES = [
  { stream: 'stdout', sequence: 0, offsetMs: 0, data: Buffer.from('\u001b[31mred\u001b[0m\n') },
  { stream: 'stderr', sequence: 1, offsetMs: 3, data: Buffer.from([0, 0xff, 0xc3, 0x28]) },
  { stream: 'stdout', sequence: 4_294_967_295, offsetMs: 250, data: Buffer.alloc(0) },
] as const;

function block(): Buffer {
  const target = Buffer.alloc(200);
  let at = writeBlockHead(target);
  for (const { stream, sequence, offsetMs, data } of PIECES) {
    at = writeFrame(target, at, { stderr: stream === 'stderr', sequence, offsetMs }, data, 0, data.length);
  }
  return target.subarray(0, at);
}

test('a block gives back its frames in order, byte for byte', () => {
  assert.deepEqual([...readBlock(block())], PIECES);
  assert.equal(block().length, BLOCK_HEAD_BYTES + PIECES.reduce((sum, { data }) => sum + FRAME_HEAD_BYTES + data.length, 0));
});

test('the layout of a block never changes', () => {
  assert.equal(
    block().toString('hex'),
    '010d0000000000000000000000001b5b33316d7265641b5b306d0a040000000101000000030000' + '0000ffc3280000000000fffffffffa000000',
  );
});

test('cut blocks and other versions are refused', () => {
  const whole = block();
  for (const length of [0, 5, 20, whole.length - 1]) {
    assert.throws(() => [...readBlock(whole.subarray(0, length))], RangeError, `cut at ${length}`);
  }
  assert.throws(() => [...readBlock(Buffer.from([2]))], /a block of version 2, known is 1/);
});

test('the day comes from the id, unless its clock is wrong', () => {
  const id = (ms: number, version = 7): Buffer => {
    const bytes = Buffer.alloc(16);
    bytes.writeUIntBE(ms, 0, 6);
    bytes[6] = version << 4;
    return bytes;
  };
  const now = Date.UTC(2026, 10, 21, 0, 0, 5);
  assert.equal(historyDay(id(now - 10_000), now), '2026-11-20');
  assert.equal(historyDay(id(now + 23 * 3_600_000), now), '2026-11-21');
  assert.equal(historyDay(id(now + 25 * 3_600_000), now), '2026-11-21');
  assert.equal(historyDay(id(now - 25 * 3_600_000), now), '2026-11-21');
  assert.equal(historyDay(id(now - 10_000, 4), now), '2026-11-21');
});
