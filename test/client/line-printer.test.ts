import assert from 'node:assert/strict';
import { Writable } from 'node:stream';
import { test } from 'node:test';
import { LinePrinter } from '../../client/program/line-printer.ts';
import { Sink } from '../../client/program/sink.ts';
import { completeLength, harmless } from '../../client/program/terminal-text.ts';
import { until } from '../support/wait.ts';

/** Two sinks that write to one screen (a terminal) or into two files. */
function screens(isTTY: boolean): { printer: LinePrinter; text: { both: string; out: string; err: string } } {
  const text = { both: '', out: '', err: '' };
  const sink = (name: 'out' | 'err'): Sink => {
    const stream = new Writable({
      write(chunk: Buffer, _encoding, callback) {
        text[name] += chunk.toString();
        text.both += chunk.toString();
        callback();
      },
    });
    return new Sink(Object.assign(stream, { isTTY }) as unknown as NodeJS.WriteStream, () => {});
  };
  return { printer: new LinePrinter(sink('out'), sink('err'), true), text };
}

test('lines of several workers are never mixed', () => {
  const { printer, text } = screens(false);
  printer.write('[a] ', false, Buffer.from('one\ntw'));
  printer.write('[b] ', false, Buffer.from('uno\n'));
  printer.write('[a] ', false, Buffer.from('o\nthree'));
  printer.write('[a] ', true, Buffer.from('oops\n'));
  printer.end();
  assert.deepEqual([text.out, text.err], ['[a] one\n[b] uno\n[a] two\n[a] three\n', '[a] oops\n']);
  assert.equal(printer.lines, 5);
});

test('an unfinished line is shown after a pause and goes on where it was', async () => {
  const { printer, text } = screens(true);
  const shown = (): string => text.both;
  printer.write('[a] ', false, Buffer.from('Password: '));
  assert.equal(shown(), '');
  await until(() => shown() === '[a] Password: ', { what: 'the question', timeoutMs: 1000 });
  printer.write('[a] ', false, Buffer.from('ok\nnext'));
  await until(() => shown() === '[a] Password: ok\n[a] next', { what: 'the next line', timeoutMs: 1000 });
  printer.write('[b] ', false, Buffer.from('other\n'));
  printer.write('[a] ', false, Buffer.from(' part\n'));
  assert.equal(shown(), '[a] Password: ok\n[a] next\n[b] other\n[a]  part\n');
  printer.write('[a] ', false, Buffer.from('end'));
  await until(() => shown().endsWith('end'), { what: 'the last line', timeoutMs: 1000 });
  printer.end();
  assert.ok(shown().endsWith('[a] end\n'));
});

test('errors are red on a terminal, and interrupt an unfinished line there', async () => {
  const { printer, text } = screens(true);
  printer.write('[a] ', false, Buffer.from('working'));
  await until(() => text.both !== '', { what: 'the unfinished line', timeoutMs: 1000 });
  printer.write('[a] ', true, Buffer.from('oops\n'));
  assert.equal(text.both, '[a] working\n\x1b[31m[a] oops\x1b[39m\n');
  printer.end();
  assert.equal(printer.lines, 2);
});

test('escape sequences are shown instead of obeyed on a terminal, and pass into files', () => {
  const evil = Buffer.from('\x1b]0;owned\x07\tx\x7f\x9b31m\r\nnext\r');
  const terminal = screens(true);
  terminal.printer.write('', false, evil);
  terminal.printer.end();
  assert.equal(terminal.text.both, '^[]0;owned^G\tx^?\\x9b31m\nnext\n');
  const file = screens(false);
  file.printer.write('', false, evil);
  file.printer.end();
  assert.equal(file.text.both, `${evil}\n`);
});

test('output without line ends needs no memory and loses no byte', () => {
  const { printer, text } = screens(false);
  const chunk = Buffer.alloc(50_000, 'x');
  for (let i = 0; i < 20; i += 1) printer.write('', false, chunk);
  assert.ok(text.out.length > 900_000);
  printer.end();
  assert.equal(text.out, `${'x'.repeat(1_000_000)}\n`);
});

test('characters are not cut when an unfinished line is shown', async () => {
  const { printer, text } = screens(true);
  const bytes = Buffer.from('grün €');
  printer.write('', false, bytes.subarray(0, 3));
  await until(() => text.both === 'gr', { what: 'the complete characters', timeoutMs: 1000 });
  printer.write('', false, bytes.subarray(3));
  printer.end();
  assert.equal(text.both, 'grün €\n');
});

test('completeLength leaves out exactly what is cut', () => {
  for (const text of ['', 'a', 'ü', '€', '😀', 'a😀']) {
    const bytes = Buffer.from(text);
    assert.equal(completeLength(bytes), bytes.length, text);
    for (let cut = 1; cut < bytes.length; cut += 1) {
      const part = bytes.subarray(0, cut);
      assert.ok(!part.subarray(0, completeLength(part)).toString().includes('\ufffd'), `${text} ${cut}`);
    }
  }
  assert.equal(completeLength(Buffer.from([0x80, 0x80, 0x80, 0x80])), 4, 'garbage is not held back');
  assert.equal(harmless('a\tb\u0000\u0085'), 'a\tb^@\\x85');
});
