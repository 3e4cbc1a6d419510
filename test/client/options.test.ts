import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { test } from 'node:test';
import { OPTIONS, orderOf, parseCommandLine } from '../../client/program/options.ts';
import { readPayload } from '../../client/program/payload.ts';
import { TriggerFsError } from '../../protocol/errors.ts';
import { LIMITS } from '../../protocol/limits.ts';
import { parseConfig } from '../../runtime/config/index.ts';
import { packageRoot } from '../../runtime/package-root.ts';
import { readTable } from '../support/markdown.ts';

const CONFIG = parseConfig('', null);
const CALL = ['-service', 'demo', '-plugin', 'command/command'];

function order(argv: readonly string[]): ReturnType<typeof orderOf> {
  return orderOf(parseCommandLine(argv), CONFIG);
}

test('the documented command lines', () => {
  assert.deepEqual(order([...CALL, '-timeout', '10s', '-command', 'uptime']), {
    service: 'demo',
    plugin: 'command/command',
    args: {},
    timeoutMs: 10_000,
  });
  const sms = ['-service', 'twilio/api', '-plugin', 'sms', '-command', 'Hey buddy', '-args', 'recipient=0123456789', '--args=apikey=a=b'];
  assert.deepEqual(order(sms), {
    service: 'twilio/api',
    plugin: 'sms',
    args: { recipient: '0123456789', apikey: 'a=b' },
  });
});

test('wrong command lines', () => {
  const cases: [string[], string, RegExp][] = [
    [['-service', 'demo'], 'TFS_USAGE', /no -plugin is given/],
    [['-service', '../../bin/sh', '-plugin', 'echo'], 'TFS_BAD_NAME', /-service \.\.\/\.\.\/bin\/sh is no name/],
    [['-service', 'a/b/c', '-plugin', 'echo'], 'TFS_BAD_NAME', /-service a\/b\/c/],
    [['-service', 'demo', '-plugin', '../../bin/sh'], 'TFS_BAD_NAME', /-plugin \.\.\/\.\.\/bin\/sh is no name/],
    [[...CALL, '-timeout', '0s'], 'TFS_BAD_TIMEOUT', /-timeout 0s/],
    [[...CALL, '-timeout', '-5s'], 'TFS_BAD_TIMEOUT', /-timeout -5s/],
    [[...CALL, '-timeout', '8d'], 'TFS_BAD_TIMEOUT', /-timeout 8d/],
    [[...CALL, '-timeout', ''], 'TFS_BAD_TIMEOUT', /-timeout/],
    [[...CALL, '-args', 'novalue'], 'TFS_USAGE', /-args novalue lacks its value/],
    [[...CALL, '-args', '=v'], 'TFS_USAGE', /"" is no name of an argument/],
    [[...CALL, '-args', '__proto__=v', '-args', '__proto__=w'], 'TFS_USAGE', /-args __proto__ is given twice/],
    [[...CALL, '-args', 'a=1', '-args', 'a=2'], 'TFS_USAGE', /-args a is given twice/],
    [[...CALL, '-args', `a=${'x'.repeat(LIMITS.argsBytes)}`], 'TFS_TOO_LARGE', /at most 65536/],
    [[...CALL, '-raw', '-json'], 'TFS_USAGE', /exclude each other/],
    [[...CALL, '-command', 'rm', '-rf'], 'TFS_USAGE', /unknown option -rf/],
    [[...CALL, '-command', 'echo', 'hi'], 'TFS_USAGE', /unexpected word hi/],
  ];
  for (const [argv, code, message] of cases) {
    assert.throws(
      () => order(argv),
      (error) => error instanceof TriggerFsError && error.code === code && message.test(error.message),
      argv.join(' ').slice(0, 80),
    );
  }
});

test('the message comes from -command or from all of standard input', async () => {
  const input = (bytes: Buffer, isTTY = false): Parameters<typeof readPayload>[1] => Object.assign(Readable.from([bytes]), { isTTY });
  assert.deepEqual(await readPayload('grüße', input(Buffer.from('unread'))), Buffer.from('grüße'));
  assert.deepEqual(await readPayload(undefined, input(Buffer.from([0, 255, 10]))), Buffer.from([0, 255, 10]));
  assert.equal((await readPayload(undefined, input(Buffer.alloc(LIMITS.payloadBytes)))).length, LIMITS.payloadBytes);
  await assert.rejects(readPayload(undefined, input(Buffer.alloc(LIMITS.payloadBytes + 1))), { code: 'TFS_TOO_LARGE' });
  await assert.rejects(readPayload('x'.repeat(LIMITS.payloadBytes + 1), input(Buffer.alloc(0))), { code: 'TFS_TOO_LARGE' });
  await assert.rejects(readPayload(undefined, input(Buffer.alloc(0), true)), { code: 'TFS_USAGE', message: /no message: give -command/ });
});

test('docs/client.md lists the options', () => {
  const rows = readTable(readFileSync(join(packageRoot(), 'docs', 'client.md'), 'utf8'), ['option', 'meaning']);
  const documented = rows.flatMap(([option]) =>
    [...(option as string).matchAll(/(?<![a-z])-([a-z]+(?:-[a-z]+)*)/g)].map(([, name]) => name),
  );
  assert.deepEqual(documented.sort(), Object.keys(OPTIONS).sort());
});
