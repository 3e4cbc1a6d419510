import assert from 'node:assert/strict';
import { test } from 'node:test';
import { splitLines } from '../../fs/framing.ts';

const texts = (messages: readonly Buffer[]): string[] => messages.map(String);

test('complete lines become messages with their newline, the rest waits', () => {
  const { messages, rest } = splitLines([], Buffer.from('one\ntwo\nthr'));
  assert.deepEqual(texts(messages), ['one\n', 'two\n']);
  assert.equal(String(rest), 'thr');
});

test('what waited becomes the start of the first line', () => {
  const { messages, rest } = splitLines([Buffer.from('th'), Buffer.from('r')], Buffer.from('ee\nfour\n'));
  assert.deepEqual(texts(messages), ['three\n', 'four\n']);
  assert.equal(rest, null);
});

test('without a newline everything waits', () => {
  const { messages, rest } = splitLines([Buffer.from('a')], Buffer.from('b'));
  assert.deepEqual(messages, []);
  assert.equal(String(rest), 'b');
});

test('empty lines are messages, and joining all messages gives the bytes back', () => {
  const bytes = Buffer.from('\n\na\n\r\n');
  const { messages } = splitLines([], bytes);
  assert.equal(messages.length, 4);
  assert.deepEqual(Buffer.concat(messages), bytes);
});

test('a character cut by a write is joined again', () => {
  const bytes = Buffer.from('größer €\n');
  for (let cut = 1; cut < bytes.length; cut += 1) {
    const first = splitLines([], bytes.subarray(0, cut));
    assert.equal(first.messages.length, 0);
    const second = splitLines([first.rest as Buffer], bytes.subarray(cut));
    assert.deepEqual(texts(second.messages), ['größer €\n']);
  }
});
