import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatHelp, parseArguments } from '../../runtime/arguments.ts';

const OPTIONS = {
  service: { kind: 'value', value: 'NAME', doc: 'Service.' },
  args: { kind: 'values', value: 'K=V', doc: 'Arguments.' },
  debug: { kind: 'flag', doc: 'More.' },
  'data-dir': { kind: 'value', doc: 'Folder.' },
} as const;

function parse(...argv: string[]): ReturnType<typeof parseArguments<typeof OPTIONS>> {
  return parseArguments(OPTIONS, argv);
}

test('options take one or two dashes, and values in the next word or after an equals sign', () => {
  for (const argv of [['-service', 'demo'], ['--service', 'demo'], ['-service=demo'], ['--service=demo']]) {
    assert.equal(parse(...argv).options.service, 'demo');
  }
  assert.equal(parse('--data-dir', '/x').options['data-dir'], '/x');
  assert.deepEqual(parse().options, { service: undefined, args: [], debug: false, 'data-dir': undefined });
});

test('values may look like anything, also like options or nothing', () => {
  assert.equal(parse('-service', '-x').options.service, '-x');
  assert.equal(parse('-service', '').options.service, '');
  assert.equal(parse('-service=').options.service, '');
  assert.equal(parse('-service=a=b\nc').options.service, 'a=b\nc');
});

test('repeated values are collected', () => {
  assert.deepEqual(parse('-args', 'a=1', '-args=b=2').options.args, ['a=1', 'b=2']);
});

test('flags stand alone or with true and false, as documented', () => {
  assert.equal(parse('-debug').options.debug, true);
  assert.equal(parse('-debug', 'true').options.debug, true);
  assert.equal(parse('-debug', 'false').options.debug, false);
  assert.equal(parse('-debug=false').options.debug, false);
  assert.deepEqual(parse('-debug', 'word'), { options: { ...parse().options, debug: true }, words: ['word'] });
  assert.throws(() => parse('-debug=maybe'), /-debug takes true or false, not maybe/);
});

test('words and the end of options', () => {
  assert.deepEqual(parse('a', '-debug', 'b').words, ['a', 'b']);
  assert.deepEqual(parse('--', '-debug', '--').words, ['-debug', '--']);
  assert.deepEqual(parse('-').words, ['-']);
  assert.deepEqual(parse('-5').words, ['-5']);
});

test('mistakes are named', () => {
  assert.throws(() => parse('-servce', 'x'), /unknown option -servce/);
  assert.throws(() => parse('-service'), /-service needs a value/);
  assert.throws(() => parse('-constructor', 'x'), /unknown option -constructor/);
  assert.deepEqual(parse('--__proto__=x').words, ['--__proto__=x']);
});

test('help lists every option in aligned columns', () => {
  assert.equal(
    formatHelp('usage: x', OPTIONS),
    [
      'usage: x',
      '',
      '  -service NAME    Service.',
      '  -args K=V        Arguments.',
      '  -debug           More.',
      '  -data-dir VALUE  Folder.',
      '',
    ].join('\n'),
  );
});
