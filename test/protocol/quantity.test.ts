import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatDuration, parseDuration, parseSize } from '../../protocol/quantity.ts';

test('durations', () => {
  const good: Record<string, number> = {
    '500ms': 500,
    '10s': 10_000,
    '10': 10_000,
    '1.5m': 90_000,
    '2h': 7_200_000,
    '7d': 604_800_000,
    ' 1s ': 1000,
  };
  for (const [text, ms] of Object.entries(good)) assert.equal(parseDuration(text), ms, text);
  for (const text of [
    '',
    '0',
    '0s',
    '-1s',
    '1e3s',
    'NaN',
    'Infinity',
    '10 s',
    '10S',
    '10y',
    '.5s',
    '1.5.5s',
    '0.0001ms',
    '9999999999s',
    '١s',
  ]) {
    assert.equal(parseDuration(text), null, JSON.stringify(text));
  }
});

test('sizes', () => {
  const good: Record<string, number> = {
    '0': 0,
    '64KB': 64_000,
    '64KiB': 65_536,
    '1GB': 1e9,
    '1gib': 2 ** 30,
    '10 MB': 1e7,
    '1.5KiB': 1536,
  };
  for (const [text, bytes] of Object.entries(good)) assert.equal(parseSize(text), bytes, text);
  for (const text of ['', '-1', '1TB', 'KB', '1K B', '0x10', '1e3']) assert.equal(parseSize(text), null, JSON.stringify(text));
});

test('durations as the screens show them', () => {
  assert.equal(formatDuration(12.3), '12.3ms');
  assert.equal(formatDuration(907.9146), '907.915ms');
  assert.equal(formatDuration(1500), '1.5s');
  assert.equal(formatDuration(61_500), '1m1.5s');
  assert.equal(formatDuration(0), '0ms');
});
