import assert from 'node:assert/strict';
import test from 'node:test';
import { CommandTree, type Syntax } from '../../../client/cli/grammar/command-tree.ts';
import { endsInQuote, splitLine, splitTyped } from '../../../client/cli/grammar/line.ts';

const TREE = new CommandTree<Syntax>(
  [
    { pattern: 'show workers|worker', doc: 'All workers' },
    { pattern: 'show workers|worker <worker>', doc: 'One worker' },
    { pattern: 'show services', doc: 'All services' },
    { pattern: 'show sessions', doc: 'All sessions' },
    { pattern: 'set services name <name>', doc: 'New service' },
    {
      pattern: 'set services <service>',
      doc: 'Change',
      options: {
        timeout: { value: 'duration', doc: 'Time limit' },
        window: { value: 'n', doc: 'At once' },
        algorithm: { value: 'algorithm', choices: ['roundrobin', 'serial', 'mirror'], doc: 'How' },
      },
    },
    { pattern: 'set services <service> workers add <worker>', doc: 'Attach' },
    { pattern: 'request <what:stop|start>', doc: 'Do' },
  ],
  { show: 'Show things' },
);

function resolve(line: string): string {
  const { command, parts, values, options } = TREE.resolve(splitLine(line).words);
  const given = [...Object.entries(values), ...Object.entries(options)].map(([name, value]) => `${name}=${String(value)}`).join(' ');
  return `${command.pattern} | ${parts.map(({ text }) => text).join(' ')} | ${given}`;
}

test('commands are resolved, abbreviations written out', () => {
  const lines: Readonly<Record<string, string>> = {
    'show workers': 'show workers|worker | show workers | ',
    'sh wo': 'show workers|worker | show workers | ',
    'SHOW Worker': 'show workers|worker | show workers | ',
    'sh worker demo01': 'show workers|worker <worker> | show workers demo01 | worker=demo01',
    'show workers "services"': 'show workers|worker <worker> | show workers services | worker=services',
    'set services name "a b"': 'set services name <name> | set services name a b | name=a b',
    'set serv demo time 5s alg mir':
      'set services <service> | set services demo timeout 5s algorithm mirror | service=demo timeout=5s algorithm=mirror',
    'set serv demo wor add demo01':
      'set services <service> workers add <worker> | set services demo workers add demo01 | service=demo worker=demo01',
    'req sta': 'request <what:stop|start> | request start | what=start',
  };
  assert.deepEqual(Object.fromEntries(Object.keys(lines).map((line) => [line, resolve(line)])), lines);
});

test('what is no command is refused, saying what was expected', () => {
  const lines: Readonly<Record<string, string>> = {
    shoe: 'unknown command shoe; see help',
    s: 's may mean show or set',
    show: 'incomplete command: show needs workers, services or sessions',
    'show se': 'se may mean services or sessions',
    'show wrkers': 'unexpected word wrkers after show; expected workers, services or sessions',
    'show services demo': 'unexpected word demo after show services',
    'show "services"': 'unexpected word services after show; expected workers, services or sessions',
    'set services name': 'incomplete command: set services name needs <name>',
    'set services demo w 2': 'w may mean workers or window',
    'set services demo timeout': 'incomplete command: timeout needs <duration>',
    'set services demo algorithm fast': 'unexpected word fast; expected roundrobin, serial or mirror',
    'set services demo timeout 5s colour red': 'unexpected word colour; expected timeout, window or algorithm',
  };
  const messages = Object.keys(lines).map((line) => {
    try {
      return [line, resolve(line)];
    } catch (error) {
      return [line, (error as Error).message];
    }
  });
  assert.deepEqual(Object.fromEntries(messages), lines);
});

test('what may come next is known at every word', () => {
  const next = (line: string): string[] => TREE.next(splitTyped(line).words).map(({ text }) => text);
  assert.deepEqual(next(''), ['show', 'set', 'request']);
  assert.deepEqual(next('show '), ['workers', 'services', 'sessions']);
  assert.deepEqual(next('sh wo '), ['<worker>']);
  assert.deepEqual(next('set services '), ['name', '<service>']);
  assert.deepEqual(next('set services demo '), ['workers', 'timeout', 'window', 'algorithm']);
  assert.deepEqual(next('set services demo algorithm '), ['roundrobin', 'serial', 'mirror']);
  assert.deepEqual(next('set services demo timeout 5s '), ['timeout', 'window', 'algorithm']);
  assert.deepEqual(next('request '), ['stop', 'start']);
  assert.deepEqual(next('nonsense '), []);
});

test('a line is divided at pipes outside of quotes; a comment is no command', () => {
  const divided = splitLine('show workers | match "a|b" | count');
  const texts = (words: readonly { text: string }[]): string[] => words.map(({ text }) => text);
  assert.deepEqual([texts(divided.words), ...divided.pipes.map(texts)], [['show', 'workers'], ['match', 'a|b'], ['count']]);
  assert.deepEqual(splitLine('  # set workers identity x'), { words: [], pipes: [] });
  assert.throws(() => splitLine('echo "open'), /quote/);
  assert.equal(endsInQuote('echo "open'), true);
  assert.equal(endsInQuote('echo "closed"'), false);
  assert.equal(splitTyped('show wo').begun.text, 'wo');
  assert.equal(splitTyped('show ').begun.text, '');
});
