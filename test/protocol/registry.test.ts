import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ALGORITHMS, algorithmName, algorithmNumber } from '../../protocol/algorithms.ts';
import { ERRORS, type ErrorCode, errorCode, TriggerFsError } from '../../protocol/errors.ts';
import { Layout, RecordType, recordName } from '../../protocol/records.ts';
import { VERDICT_NAMES, Verdict, verdictName } from '../../protocol/verdicts.ts';

test('numbers of errors are unique, fit into a u16, and lead back to their code', () => {
  const numbers = Object.values(ERRORS).map(({ number }) => number);
  assert.equal(new Set(numbers).size, numbers.length);
  for (const [code, definition] of Object.entries(ERRORS)) {
    assert.match(code, /^TFS_[A-Z_]+$/);
    assert.ok(Number.isInteger(definition.number) && definition.number > 0 && definition.number < 0x10000, code);
    assert.equal(errorCode(definition.number), code);
    assert.ok(definition.status >= 400 && definition.status < 600, code);
    assert.ok(definition.exitCode > 0 && definition.exitCode < 256, code);
    assert.match(definition.hint, /^\S.*[.]$/, code);
  }
});

test('0 is no error, and the number of a newer peer is an internal one', () => {
  assert.equal(errorCode(0), null);
  assert.equal(errorCode(65_535), 'TFS_INTERNAL');
});

test('anything thrown becomes one kind of error, with its cause', () => {
  const own = new TriggerFsError('TFS_CONFLICT', 'two of a kind');
  assert.equal(TriggerFsError.from(own), own);
  const wrapped = TriggerFsError.from(new TypeError('odd'));
  assert.deepEqual([wrapped.code, wrapped.message], ['TFS_INTERNAL' satisfies ErrorCode, 'odd']);
  assert.ok(wrapped.cause instanceof TypeError);
  assert.equal(TriggerFsError.from('text').message, 'text');
});

test('record types are unique bytes with names', () => {
  const numbers = Object.values(RecordType);
  assert.equal(new Set(numbers).size, numbers.length);
  for (const [name, number] of Object.entries(RecordType)) {
    assert.ok(number > 0 && number < 256, name);
    assert.equal(recordName(number), name.toUpperCase());
  }
  assert.equal(recordName(0x7f), '0x7f');
});

test('fields of a layout do not overlap and stay 4-byte aligned where they hold u32', () => {
  for (const [record, layout] of Object.entries(Layout)) {
    const offsets = Object.values(layout);
    assert.deepEqual(
      offsets,
      [...offsets].sort((a, b) => a - b),
      record,
    );
    assert.equal(new Set(offsets).size, offsets.length, record);
    assert.equal(offsets[0], 0, record);
  }
});

test('REQUEST and TASK have the same shape, so that brokers forward by copying', () => {
  assert.deepEqual(Object.values(Layout.request), Object.values(Layout.task));
});

test('verdicts have names; an unknown number never reads as success', () => {
  assert.equal(VERDICT_NAMES.length, Object.keys(Verdict).length);
  assert.equal(verdictName(Verdict.workerLost), 'worker-lost');
  assert.equal(verdictName(Verdict.ok), 'ok');
  assert.equal(verdictName(200), 'failed');
});

test('algorithms have numbers and names', () => {
  for (const name of ALGORITHMS) assert.equal(algorithmName(algorithmNumber(name)), name);
  assert.equal(algorithmName(99), 'direct');
});
