import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readBatch } from '../../protocol/batch.ts';
import { RecordType } from '../../protocol/records.ts';
import { Outbox } from '../../runtime/wire/outbox.ts';
import { until } from '../support/wait.ts';

function recordingOutbox(): { outbox: Outbox; batches: number[][] } {
  const batches: number[][] = [];
  const send = async (batch: Buffer): Promise<void> => {
    const types: number[] = [];
    readBatch(batch, (type) => types.push(type));
    batches.push(types);
  };
  return { outbox: new Outbox(send, (error) => assert.fail(String(error))), batches };
}

test('records of one turn leave as one batch', async () => {
  const { outbox, batches } = recordingOutbox();
  outbox.reserve(RecordType.output, 0, 4);
  outbox.reserve(RecordType.result, 0, 4);
  await outbox.flushed();
  assert.deepEqual(batches, [[RecordType.output, RecordType.result]]);
});

test('a lingering record leaves before the next other one, in the same batch', async () => {
  const { outbox, batches } = recordingOutbox();
  outbox.reserveLingering(RecordType.started, 0, 4);
  outbox.reserve(RecordType.result, 0, 4);
  await outbox.flushed();
  assert.deepEqual(batches, [[RecordType.started, RecordType.result]]);
});

test('a lingering record leaves alone when no other one comes', async () => {
  const { outbox, batches } = recordingOutbox();
  outbox.reserveLingering(RecordType.started, 0, 4);
  await until(() => batches.length > 0, { what: 'the batch' });
  assert.deepEqual(batches, [[RecordType.started]]);
});

test('a closed outbox sends nothing, not even what lingered', async () => {
  const { outbox, batches } = recordingOutbox();
  outbox.reserveLingering(RecordType.started, 0, 4);
  outbox.close();
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.deepEqual(batches, []);
});
