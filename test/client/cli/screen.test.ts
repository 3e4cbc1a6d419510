import assert from 'node:assert/strict';
import { once } from 'node:events';
import test from 'node:test';
import { splitLine } from '../../../client/cli/grammar/line.ts';
import { shownTime, table, text } from '../../../client/cli/screen/answer.ts';
import { FilterStream } from '../../../client/cli/screen/filter-stream.ts';
import { isLong } from '../../../client/cli/screen/pager.ts';
import { type Pipeline, readPipes } from '../../../client/cli/screen/pipes.ts';
import { render } from '../../../client/cli/screen/render.ts';

interface Row {
  readonly id: number;
  readonly name: string;
}

const ANSWER = table<Row>(
  [
    { title: 'id', of: ({ id }) => id },
    { title: 'name', of: ({ name }) => name },
  ],
  [
    { id: 7, name: 'alpha' },
    { id: 12, name: 'be\x1b[31mta\nx' },
    { id: 100, name: '' },
  ],
);

function pipes(line: string): Pipeline {
  return readPipes(splitLine(`show${line}`).pipes);
}

test('a table has the documented shape, and texts in it cannot move the cursor', () => {
  assert.deepEqual(render(ANSWER, pipes(''), 33.375014), [
    '  id | name',
    '-----+---------------',
    '   7 | alpha',
    '  12 | be^[[31mta^Jx',
    ' 100 |',
    '(3 rows)',
    'Time: 33.375ms',
  ]);
});

test('an empty table is a heading and no rows', () => {
  assert.deepEqual(render(table<Row>([{ title: 'id', of: ({ id }) => id }], []), pipes(''), 1), [' id', '----', '(0 rows)', 'Time: 1ms']);
});

test('pipes keep lines, count them, or show JSON', () => {
  const cases: Readonly<Record<string, readonly string[]>> = {
    ' | match ALPHA': ['   7 | alpha'],
    ' | except alpha | last 1': [' 100 |'],
    ' | find beta': [],
    ' | find "be.*ta"': ['  12 | be^[[31mta^Jx', ' 100 |'],
    ' | count': ['Count: 3 lines'],
    ' | match a | count': ['Count: 2 lines'],
    ' | match alpha | json': ['[', '  {', '    "id": 7,', '    "name": "alpha"', '  }', ']'],
    ' | match alp | count | json': ['{"count":1}'],
    ' | m alp | no-more': ['   7 | alpha'],
  };
  assert.deepEqual(Object.fromEntries(Object.keys(cases).map((line) => [line, render(ANSWER, pipes(line), 1)])), cases);
  assert.deepEqual(render(text(['a', 'b'], { x: 1 }), pipes(' | json'), 1), ['{', '  "x": 1', '}']);
});

test('pipes that make no sense are refused', () => {
  for (const line of [' | nonsense', ' |', ' | match', ' | match (', ' | last x', ' | last 0', ' | count 3']) {
    assert.throws(() => pipes(line), { code: 'TFS_USAGE' }, line);
  }
});

test('live output passes through the same pipes, whole lines at a time', async () => {
  const seen = async (line: string): Promise<string[]> => {
    const lines: string[] = [];
    const stream = new FilterStream(pipes(line), async (shown) => void lines.push(shown));
    for (const chunk of ['al', 'pha\nbe', 'ta\ngamma\n', 'delta']) stream.write(chunk);
    stream.end();
    await once(stream, 'finish');
    return lines;
  };
  assert.deepEqual(await seen(' | except gamma'), ['alpha', 'beta', 'delta']);
  assert.deepEqual(await seen(' | last 2'), ['gamma', 'delta']);
  assert.deepEqual(await seen(' | match ta | count'), ['Count: 2 lines']);
});

test('times are shown in UTC as documented', () => {
  assert.equal(shownTime('2018-04-30T18:45:30.123Z'), 'Mon, 30 Apr 2018 18:45:30 UTC');
  assert.equal(shownTime(null), '');
});

test('an answer is long when its lines, wrapped, fill the screen', () => {
  assert.equal(isLong(['a', 'b'], { rows: 3, columns: 10 }), false);
  assert.equal(isLong(['a', 'b'.repeat(11)], { rows: 3, columns: 10 }), true);
});

test('a table of 10,000 rows takes a moment only', () => {
  const items = Array.from({ length: 10_000 }, (_, id) => ({ id, name: `worker-${id}` }));
  const columns = [
    { title: 'id', of: ({ id }: Row) => id },
    ...Array.from({ length: 8 }, (_, at) => ({ title: `name${at}`, of: ({ name }: Row) => name })),
  ];
  const begun = performance.now();
  const lines = render(table<Row>(columns, items), pipes(''), 1);
  assert.equal(lines.length, 10_004);
  assert.ok(performance.now() - begun < 2_000);
});
