import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { createLogger, timestamp } from '../../runtime/logging.ts';
import { VERSION } from '../../runtime/version.ts';

function logged(format: 'text' | 'json', use: (log: ReturnType<typeof createLogger>) => void): string {
  let text = '';
  use(
    createLogger({
      name: 'test',
      level: 'info',
      format,
      write: (line) => {
        text += line;
      },
    }),
  );
  return text;
}

test('text lines look as documented', () => {
  const text = logged('text', (log) => {
    log.info('connecting to broker');
    log.warn({ err: new Error('no route') }, 'cannot connect');
    log.debug('not shown');
  });
  assert.match(
    text,
    /^\d{4}\/\d\d\/\d\d \d\d:\d\d:\d\d I: connecting to broker\n\d{4}\/\d\d\/\d\d \d\d:\d\d:\d\d W: cannot connect: no route\n$/,
  );
});

test('secrets are not logged, in neither format and at neither depth', () => {
  const fields = { secret: 's3cret', token: 't0ken', nested: { password: 'pa55', secretKey: 'k3y', authorization: 'Bearer x1y2' } };
  for (const format of ['text', 'json'] as const) {
    const text = logged(format, (log) => log.info(fields, 'login'));
    for (const secret of ['s3cret', 't0ken', 'pa55', 'k3y', 'x1y2']) assert.doesNotMatch(text, new RegExp(secret), format);
  }
  assert.match(
    logged('json', (log) => log.info(fields, 'login')),
    /"secret":"\[redacted\]"/,
  );
});

test('a message with line breaks stays one JSON line', () => {
  const text = logged('json', (log) => log.info('one\ntwo'));
  assert.equal(text.trimEnd().split('\n').length, 1);
  assert.equal(JSON.parse(text).msg, 'one\ntwo');
});

test('timestamps are local and padded', () => {
  assert.equal(timestamp(new Date(2026, 0, 2, 3, 4, 5)), '2026/01/02 03:04:05');
});

test('the version is that of the package', () => {
  const { version } = JSON.parse(readFileSync(join(import.meta.dirname, '..', '..', 'package.json'), 'utf8')) as { version: string };
  assert.equal(VERSION, version);
});
