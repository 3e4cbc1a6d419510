import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BatchWriter, MalformedBatchError, RECORD_HEADER_BYTES, readBatch, readJson } from '../../protocol/batch.ts';
import { RecordType } from '../../protocol/records.ts';
import { randomNumbers } from '../support/random.ts';

interface Read {
  readonly type: number;
  readonly flags: number;
  readonly body: string;
}

function read(batch: Buffer): Read[] {
  const records: Read[] = [];
  readBatch(batch, (type, flags, source, start, end) => records.push({ type, flags, body: source.toString('hex', start, end) }));
  return records;
}

/** What was visited before the damage, and if it was found damaged. */
function readDamaged(batch: Buffer): { records: Read[]; malformed: boolean } {
  const records: Read[] = [];
  try {
    readBatch(batch, (type, flags, source, start, end) => records.push({ type, flags, body: source.toString('hex', start, end) }));
    return { records, malformed: false };
  } catch (error) {
    assert.ok(error instanceof MalformedBatchError, `only MalformedBatchError may be thrown, not ${String(error)}`);
    return { records, malformed: true };
  }
}

function threeRecords(): { batch: Buffer; ends: number[] } {
  const writer = new BatchWriter();
  const ends: number[] = [];
  writer.json(RecordType.hello, { token: 't' });
  ends.push(writer.length);
  writer.write(RecordType.drain, 0);
  ends.push(writer.length);
  writer.write(RecordType.output, 1, Buffer.from('0123456789'));
  ends.push(writer.length);
  return { batch: writer.take(), ends };
}

test('a batch has these bytes and no others', () => {
  const writer = new BatchWriter();
  writer.write(RecordType.ping, 0, Buffer.from('0102030405060708', 'hex'));
  writer.write(RecordType.output, 1, Buffer.from('hi'));
  writer.write(RecordType.drain, 0);
  assert.equal(writer.take().toString('hex'), ['01', '0a00000004000102030405060708', '0400000023016869', '020000000700'].join(''));
});

test('an empty batch is the version byte alone', () => {
  const writer = new BatchWriter();
  assert.equal(writer.empty, true);
  assert.deepEqual(read(writer.take()), []);
});

test('a batch cut at any byte is either whole records or malformed', () => {
  const { batch, ends } = threeRecords();
  const whole = read(batch);
  for (let size = 0; size <= batch.length; size += 1) {
    const { records, malformed } = readDamaged(batch.subarray(0, size));
    const complete = ends.filter((end) => end <= size).length;
    assert.deepEqual(records, whole.slice(0, complete), `cut at ${size}`);
    assert.equal(malformed, size !== 1 && !ends.includes(size), `cut at ${size}`);
  }
});

test('two batches glued together are malformed, because the second version byte is no record', () => {
  const { batch } = threeRecords();
  assert.equal(readDamaged(Buffer.concat([batch, batch])).malformed, true);
});

test('another version is refused before any record is read', () => {
  const { batch } = threeRecords();
  for (const version of [0, 2, 255]) {
    batch[0] = version;
    assert.deepEqual(readDamaged(batch), { records: [], malformed: true });
  }
});

test('lengths that leave the batch or are shorter than a header are malformed', () => {
  for (const length of [0, 1, 3, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff]) {
    const batch = Buffer.alloc(1 + RECORD_HEADER_BYTES);
    batch[0] = 1;
    batch.writeUInt32LE(length, 1);
    assert.equal(readDamaged(batch).malformed, true, String(length));
  }
});

test('garbage never does anything but end in a MalformedBatchError', () => {
  const random = randomNumbers(7);
  const { batch } = threeRecords();
  for (let round = 0; round < 20_000; round += 1) {
    const garbage = round % 2 === 0 ? Buffer.from(batch) : Buffer.alloc(random(64), 0);
    for (let hits = 1 + random(4); hits > 0 && garbage.length > 0; hits -= 1) garbage[random(garbage.length)] = random(256);
    if (round % 4 < 2 && garbage.length > 0) garbage[0] = 1;
    const { records } = readDamaged(garbage);
    const bytes = records.reduce((sum, record) => sum + record.body.length / 2 + RECORD_HEADER_BYTES, 1);
    assert.ok(bytes <= Math.max(1, garbage.length), 'more was read than there is');
  }
});

test('what is written is read back, whatever it is', () => {
  const random = randomNumbers(42);
  const writer = new BatchWriter();
  for (let round = 0; round < 200; round += 1) {
    const expected: Read[] = [];
    for (let count = random(20); count > 0; count -= 1) {
      const body = Buffer.from(Array.from({ length: random(round === 0 ? 100_000 : 300) }, () => random(256)));
      const record = { type: random(256), flags: random(256), body: body.toString('hex') };
      const margin = Buffer.concat([Buffer.from('before'), body, Buffer.from('after')]);
      if (count % 2 === 0) writer.write(record.type, record.flags, body);
      else writer.copy(record.type, record.flags, margin, 6, 6 + body.length);
      expected.push(record);
    }
    assert.deepEqual(read(writer.take()), expected);
  }
});

test('a batch that was taken does not change when the writer goes on', () => {
  const writer = new BatchWriter();
  writer.write(RecordType.output, 0, Buffer.from('first'));
  const batch = writer.take();
  const before = batch.toString('hex');
  writer.write(RecordType.output, 0, Buffer.from('other'));
  assert.equal(batch.toString('hex'), before);
});

test('a writer that grew large gives its memory back', () => {
  const writer = new BatchWriter();
  writer.write(RecordType.output, 0, Buffer.alloc(4 * 1024 * 1024, 7));
  assert.equal(writer.take().length, 1 + RECORD_HEADER_BYTES + 4 * 1024 * 1024);
  assert.ok(writer.buffer.length < 64 * 1024);
});

test('control records are JSON objects and nothing else', () => {
  const body = (text: string): Buffer => Buffer.from(text);
  assert.deepEqual(readJson(body('{"a":1}'), 0, 7), { a: 1 });
  for (const text of ['', '[]', 'null', '1', '"x"', '{', '{"a":1}x', '\u0000', '{"a":']) {
    assert.throws(() => readJson(body(text), 0, Buffer.byteLength(text)), MalformedBatchError, text);
  }
});

test('a control record nested 5000 deep is refused or read, but crashes nothing', () => {
  const text = `${'{"a":'.repeat(5000)}1${'}'.repeat(5000)}`;
  assert.equal(typeof readJson(Buffer.from(text), 0, text.length).a, 'object');
});

test('__proto__ in a control record stays data', () => {
  const text = '{"__proto__":{"admin":true}}';
  const value = readJson(Buffer.from(text), 0, text.length);
  assert.equal((value as { admin?: unknown }).admin, undefined);
  assert.equal(({} as { admin?: unknown }).admin, undefined);
});
