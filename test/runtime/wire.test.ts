import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readBatch } from '../../protocol/batch.ts';
import { LIMITS } from '../../protocol/limits.ts';
import { RecordType } from '../../protocol/records.ts';
import { Backoff } from '../../runtime/wire/backoff.ts';
import { formatInvocationId, InvocationIds, parseInvocationId } from '../../runtime/wire/invocation-id.ts';
import { Outbox } from '../../runtime/wire/outbox.ts';
import { SLOT_LIMIT, SlotTable } from '../../runtime/wire/slot-table.ts';

test('pauses grow with jitter up to the limit, and begin again after a success', () => {
  const backoff = new Backoff(100, 5_000);
  for (const ceiling of [100, 200, 400, 800, 1600, 3200, 5000, 5000]) {
    const pause = backoff.next();
    assert.ok(pause >= ceiling / 2 && pause <= ceiling, `${pause} of ${ceiling}`);
  }
  for (let i = 0; i < 5_000; i += 1) assert.ok(Number.isFinite(backoff.next()));
  backoff.reset();
  assert.ok(backoff.next() <= 100);
  const pauses = new Set(Array.from({ length: 20 }, () => new Backoff(1_000, 1_000).next()));
  assert.ok(pauses.size > 10, 'a thousand peers must not come back together');
});

test('invocation ids are rising UUIDs of version 7', () => {
  const ids = new InvocationIds();
  let previous = '';
  for (let i = 0; i < 50_000; i += 1) {
    const text = formatInvocationId(ids.next());
    assert.ok(text > previous, `${text} after ${previous}`);
    previous = text;
  }
  assert.match(previous, /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  const ms = Number.parseInt(previous.slice(0, 13).replace('-', ''), 16);
  assert.ok(Math.abs(ms - Date.now()) < 5_000);
});

test('ids of two processes differ', () => {
  const [one, other] = [new InvocationIds(), new InvocationIds()];
  const seen = new Set(Array.from({ length: 1_000 }, () => [one, other].map((ids) => formatInvocationId(ids.next()))).flat());
  assert.equal(seen.size, 2_000);
});

test('ids in text lead back to their bytes', () => {
  const id = new InvocationIds().next();
  assert.deepEqual(parseInvocationId(formatInvocationId(id)), id);
  for (const text of ['', 'x', '018f3c3e', `${formatInvocationId(id)}0`, formatInvocationId(id).replaceAll('-', '')]) {
    assert.equal(parseInvocationId(text), null, text);
  }
});

test('numbers of a slot table are found until removed, and not taken for newer ones', () => {
  const table = new SlotTable<string>();
  const first = table.add('first');
  assert.ok(first > 0);
  assert.equal(table.get(first), 'first');
  table.remove(first);
  assert.equal(table.get(first), undefined);
  const second = table.add('second');
  assert.notEqual(second, first);
  assert.equal(table.get(first), undefined, 'a late record for the first finds nothing');
  table.remove(first);
  assert.equal(table.get(second), 'second', 'nor does a late removal');
  assert.equal(table.size, 1);
});

test('a slot table holds many entries and stays exact', () => {
  const table = new SlotTable<number>();
  const numbers = new Map<number, number>();
  for (let i = 0; i < 20_000; i += 1) numbers.set(table.add(i), i);
  assert.equal(numbers.size, 20_000);
  for (const [number, entry] of numbers) if (entry % 3 === 0) table.remove(number);
  for (const [number, entry] of numbers) assert.equal(table.get(number), entry % 3 === 0 ? undefined : entry);
  assert.deepEqual([...table.values()].length, table.size);
  for (const odd of [0, 1 << 31, 0xffffffff, SLOT_LIMIT]) assert.equal(table.get(odd), undefined);
});

test('a slot comes back with another number, thousands of times over', () => {
  const table = new SlotTable<number>();
  const seen = new Set<number>();
  for (let i = 0; i < 4_096; i += 1) {
    const number = table.add(i);
    assert.ok(number > 0 && number <= 0xffffffff);
    assert.equal(seen.has(number), false);
    seen.add(number);
    table.remove(number);
  }
});

function recordsOf(batch: Buffer): number[] {
  const types: number[] = [];
  readBatch(batch, (type) => types.push(type));
  return types;
}

test('records of one turn leave as one batch, and later ones as another', async () => {
  const sent: Buffer[] = [];
  const outbox = new Outbox(
    async (batch) => void sent.push(batch),
    (error) => assert.fail(String(error)),
  );
  for (let i = 0; i < 10; i += 1) outbox.json(RecordType.route, { i });
  assert.ok(outbox.pendingBytes > 0);
  assert.equal(sent.length, 0, 'nothing leaves during the turn');
  await outbox.flushed();
  outbox.reserve(RecordType.bye, 0, 0);
  await outbox.flushed();
  assert.deepEqual(
    sent.map((batch) => recordsOf(batch).length),
    [10, 1],
  );
  assert.equal(outbox.pendingBytes, 0);
});

test('large turns are split into batches of bounded size, in order', async () => {
  const sent: Buffer[] = [];
  const outbox = new Outbox(
    async (batch) => void sent.push(batch),
    (error) => assert.fail(String(error)),
  );
  const piece = Buffer.alloc(50_000);
  for (let i = 0; i < 20; i += 1) outbox.copy(RecordType.output, i, piece, 0, piece.length);
  await outbox.flushed();
  const flags: number[] = [];
  for (const batch of sent) {
    assert.ok(batch.length <= LIMITS.batchTargetBytes);
    readBatch(batch, (_type, flag) => flags.push(flag));
  }
  assert.deepEqual(
    flags,
    Array.from({ length: 20 }, (_, i) => i),
  );
});

test('one send at a time, whatever the transport takes', async () => {
  let running = 0;
  let most = 0;
  const outbox = new Outbox(
    async () => {
      running += 1;
      most = Math.max(most, running);
      await new Promise((resolve) => setImmediate(resolve));
      running -= 1;
    },
    (error) => assert.fail(String(error)),
  );
  for (let turn = 0; turn < 20; turn += 1) {
    outbox.json(RecordType.route, { turn });
    await Promise.resolve();
  }
  await outbox.flushed();
  assert.equal(most, 1);
});

test('a failed send is reported once, unless the outbox was closed', async () => {
  const errors: unknown[] = [];
  const failing = (): Promise<void> => Promise.reject(new Error('gone'));
  const outbox = new Outbox(failing, (error) => errors.push(error));
  outbox.reserve(RecordType.bye, 0, 0);
  await outbox.flushed();
  assert.equal(errors.length, 1);
  const closed = new Outbox(failing, (error) => errors.push(error));
  closed.reserve(RecordType.bye, 0, 0);
  closed.close();
  await closed.flushed();
  assert.equal(errors.length, 1);
  assert.equal(closed.pendingBytes, 0);
});
