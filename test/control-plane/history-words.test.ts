import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { readRange } from '../../control-plane/history/byte-range.ts';
import { daysBetween, daysOf } from '../../control-plane/history/days.ts';
import { eventFormatOf } from '../../control-plane/history/event-format.ts';
import { formatPageCursor, readPageCursor } from '../../control-plane/history/page-cursor.ts';
import { Position } from '../../control-plane/history/position.ts';
import { readTime } from '../../control-plane/history/time-text.ts';

const NOW = new Date('2026-11-21T21:14:06.500Z');

suite('words of history requests', () => {
  test('times are relative or ISO 8601, UTC where no zone is named', () => {
    const iso = (text: string): string => readTime(text, NOW).toISOString();
    assert.equal(iso('-1h'), '2026-11-21T20:14:06.500Z');
    assert.equal(iso('-90s'), '2026-11-21T21:12:36.500Z');
    assert.equal(iso('-7d'), '2026-11-14T21:14:06.500Z');
    assert.equal(iso('2026-11-21'), '2026-11-21T00:00:00.000Z');
    assert.equal(iso('2026-11-21T10:00'), '2026-11-21T10:00:00.000Z');
    assert.equal(iso('2026-11-21 10:00:01'), '2026-11-21T10:00:01.000Z');
    assert.equal(iso('2026-11-21T10:00:00+02:00'), '2026-11-21T08:00:00.000Z');
    assert.equal(iso('2026-11-21T10:00:00 02:00'), '2026-11-21T08:00:00.000Z', 'a plus sign that was not escaped');
    assert.equal(iso('2026-11-21T10:00:00-03:00'), '2026-11-21T13:00:00.000Z');
    for (const bad of ['', 'now', '-', '-1y', '--1h', '-999999999d', '2026-13-01', '1999-01-01', '2026-11-21T25:00', '9999-01-01']) {
      assert.throws(() => readTime(bad, NOW), { code: 'TFS_BAD_REQUEST' }, bad);
    }
  });

  test('ranges of bytes as RFC 9110 has them', () => {
    const cases: [string | undefined, number, unknown][] = [
      [undefined, 100, 'none'],
      ['bytes=0-9', 100, { start: 0, end: 10 }],
      ['bytes=90-', 100, { start: 90, end: 100 }],
      ['bytes=90-1000', 100, { start: 90, end: 100 }],
      ['BYTES= 5-5 ', 100, { start: 5, end: 6 }],
      ['bytes=-10', 100, { start: 90, end: 100 }],
      ['bytes=-1000', 100, { start: 0, end: 100 }],
      ['bytes=-0', 100, 'unsatisfiable'],
      ['bytes=100-', 100, 'unsatisfiable'],
      ['bytes=0-', 0, 'unsatisfiable'],
      ['bytes=-5', 0, 'unsatisfiable'],
      ['bytes=9-5', 100, 'none'],
      ['bytes=0-1,5-6', 100, 'none'],
      ['bytes=-', 100, 'none'],
      ['lines=0-5', 100, 'none'],
      ['bytes=99999999999999999999-', 100, 'none'],
    ];
    for (const [header, total, expected] of cases) assert.deepEqual(readRange(header, total), expected, header);
  });

  test('cursors of pages come back as they were, and others are refused', () => {
    const cursor = { listedAt: NOW.getTime(), id: '019ab2c0-0000-7000-8000-000000000001' };
    assert.deepEqual(readPageCursor(formatPageCursor(cursor)), cursor);
    for (const bad of ['x', Buffer.from('1.2').toString('base64url'), Buffer.from(`1;drop.${cursor.id}`).toString('base64url')]) {
      assert.throws(() => readPageCursor(bad), { code: 'TFS_BAD_REQUEST' });
    }
  });

  test('positions come back as they were, and stay short over a thousand runs', () => {
    const position = new Position();
    position.advance(7, 1, { block: 3, piece: 2, ended: false });
    position.advance(8, 2, { block: 1, piece: 0, ended: true });
    assert.equal(position.toString(), '7.1.3.2_8.2!');
    const read = Position.parse(position.toString());
    assert.deepEqual(read.of(7, 1), { block: 3, piece: 2, ended: false });
    assert.equal(read.of(8, 2).ended, true);
    assert.deepEqual(read.of(9, 1), { block: 0, piece: 0, ended: false });
    for (let worker = 1; worker <= 1000; worker += 1) position.advance(worker, 1, { block: worker % 3, piece: 0, ended: worker % 2 === 0 });
    const text = position.toString();
    assert.ok(text.length < 6_000, `${text.length} characters`);
    assert.match(text, /^[\w-]+$/);
    assert.equal(Position.parse(text).toString(), text);
    position.end();
    assert.equal(Position.parse(position.toString()).ended, true);
    assert.equal(Position.parse('').ended, false);
    for (const bad of [
      'x',
      '1',
      '1.1',
      '1.1.1.1.1',
      '-1.1.1',
      '1.1.1_',
      'zzzz',
      'z',
      '1.1.99999999999',
      "1.1.1'",
      '2147483648.1.1',
      '1.1.2147483648',
      Array(10_001)
        .fill('1.1.1')
        .map((_, n) => `${n}.1.1`)
        .join('_'),
    ]) {
      assert.throws(() => Position.parse(bad), { code: 'TFS_BAD_REQUEST' }, bad);
    }
  });

  test('partitions to look into, by id and by time', () => {
    const id = (ms: number): string =>
      `${ms
        .toString(16)
        .padStart(12, '0')
        .replace(/^(.{8})/, '$1-')}-7000-8000-000000000000`;
    const now = NOW.getTime();
    assert.deepEqual(daysOf(id(now), now), { first: '2026-11-21', last: '2026-11-21' });
    assert.deepEqual(daysOf(id(now - 3 * 86_400_000), now), { first: '2026-11-18', last: '2026-11-21' });
    assert.deepEqual(daysOf(id(now + 20 * 3_600_000), now), { first: '2026-11-22', last: '2026-11-22' });
    assert.deepEqual(daysOf(id(now + 3 * 86_400_000), now), { first: '-infinity', last: 'infinity' });
    assert.deepEqual(daysOf('00000000-0000-4000-8000-000000000000', now), { first: '-infinity', last: 'infinity' });
    assert.deepEqual(daysBetween(now, null), { first: '2026-11-20', last: 'infinity' });
  });

  test('the Accept header chooses the format', () => {
    assert.equal(eventFormatOf(undefined), null);
    assert.equal(eventFormatOf('*/*'), null);
    assert.equal(eventFormatOf('application/octet-stream, text/event-stream'), null);
    assert.match(String(eventFormatOf('text/html, Text/Event-Stream;q=0.5')?.contentType), /event-stream/);
    assert.match(String(eventFormatOf('text/event-stream;q=0, application/x-ndjson')?.contentType), /ndjson/);
    assert.equal(eventFormatOf('constructor'), null);
  });
});
