import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FRAME_HEADER_BYTES, FrameError, FrameReader, FrameType, FrameWriter, MAX_FRAME_BYTES } from '../../plugins/sdk/frames.ts';

interface Seen {
  readonly type: number;
  readonly flags: number;
  readonly number: number;
  readonly body: string;
}

function collect(): { seen: Seen[]; reader: FrameReader } {
  const seen: Seen[] = [];
  const reader = new FrameReader((type, flags, number, source, start, end) => {
    seen.push({ type, flags, number, body: source.toString('latin1', start, end) });
  });
  return { seen, reader };
}

function write(writer: FrameWriter, type: number, flags: number, number: number, body: Buffer): void {
  const at = writer.reserve(type, flags, number, body.length);
  body.copy(writer.buffer, at);
}

function push(reader: FrameReader, bytes: Buffer): void {
  reader.push(bytes, bytes.length);
}

/** A small generator with a seed, so that a failure can be repeated. */
function randomizer(seed: number): (limit: number) => number {
  let state = seed;
  return (limit) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state % limit;
  };
}

test('a frame has the documented bytes', () => {
  const writer = new FrameWriter();
  write(writer, FrameType.output, 1, 0x01020304, Buffer.from('hi'));
  assert.equal(writer.take().toString('hex'), `08000000${'82'}${'01'}04030201${'6869'}`);
  assert.equal(writer.length, 0);
});

test('frames arrive whole however the stream is cut', () => {
  const writer = new FrameWriter();
  const bodies = [0, 1, 5, 300, 20_000, 70_000].map((length) => Buffer.alloc(length, 'abc'));
  bodies.forEach((body, index) => {
    write(writer, 0x20 + index, index, index * 1000, body);
  });
  const stream = writer.take();
  const random = randomizer(7);
  for (let round = 0; round < 300; round += 1) {
    const { seen, reader } = collect();
    const step = round < 3 ? round + 1 : 1 + random(30_000);
    for (let offset = 0; offset < stream.length; ) {
      const end = Math.min(stream.length, offset + (round < 3 ? step : 1 + random(step)));
      const chunk = Buffer.from(stream.subarray(offset, end));
      push(reader, chunk);
      // The reader must not keep the chunk: it is used again.
      chunk.fill(0xee);
      offset = end;
    }
    assert.deepEqual(
      seen,
      bodies.map((body, index) => ({ type: 0x20 + index, flags: index, number: index * 1000, body: body.toString('latin1') })),
    );
  }
});

test('a JSON frame carries its value', () => {
  const writer = new FrameWriter();
  writer.json(FrameType.plan, 7, { args: { a: 'ü' } });
  const bytes = writer.take();
  assert.deepEqual(JSON.parse(bytes.toString('utf8', FRAME_HEADER_BYTES)), { args: { a: 'ü' } });
});

test('a writer that grew large gives the memory back', () => {
  const writer = new FrameWriter();
  writer.reserve(1, 0, 1, 3 * 1024 * 1024);
  assert.ok(writer.take().length > 3 * 1024 * 1024);
  assert.ok(writer.buffer.length < 1024 * 1024);
});

test('lengths that no frame has are an error', () => {
  for (const length of [0, 5, MAX_FRAME_BYTES + 1, 0xffffffff]) {
    const bytes = Buffer.alloc(20);
    bytes.writeUInt32LE(length, 0);
    assert.throws(() => push(collect().reader, bytes), FrameError, String(length));
    const { reader } = collect();
    push(reader, bytes.subarray(0, 3));
    assert.throws(() => push(reader, bytes.subarray(3)), FrameError, String(length));
  }
});

test('random bytes give frames or a FrameError, never another error', () => {
  const random = randomizer(42);
  let refused = 0;
  for (let round = 0; round < 5000; round += 1) {
    const { reader } = collect();
    const bytes = Buffer.from(Array.from({ length: 1 + random(200) }, () => random(4) * random(64)));
    try {
      for (let offset = 0; offset < bytes.length; offset += 50) push(reader, Buffer.from(bytes.subarray(offset, offset + 50)));
    } catch (error) {
      assert.ok(error instanceof FrameError, String(error));
      refused += 1;
    }
  }
  assert.ok(refused > 100);
});
