import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compare } from '../../bench/report/comparison.ts';
import { formatReport, reportObject } from '../../bench/report/report.ts';
import { interleave } from '../../bench/report/rounds.ts';
import { figure, median, pairedRatio, quantile } from '../../bench/report/statistics.ts';
import { formatTable, formatValue } from '../../bench/report/table.ts';
import { readSettings } from '../../bench/settings.ts';
import { TriggerFsError } from '../../protocol/errors.ts';

const MACHINE = { cpu: 'test', cores: 2, memoryGiB: 4, system: 'Linux', node: 'v24', load: 0.5 };

test('median and quantiles', () => {
  assert.equal(median([3, 1, 2]), 2);
  assert.equal(median([4, 1, 2, 3]), 2.5);
  assert.throws(() => median([]), RangeError);
  const hundred = Array.from({ length: 100 }, (_, index) => index + 1);
  assert.equal(quantile(hundred, 0.5), 50);
  assert.equal(quantile(hundred, 0.99), 99);
  assert.equal(quantile(hundred, 1), 100);
  assert.equal(quantile([7], 0), 7);
  assert.throws(() => quantile([], 0.5), RangeError);
});

test('a figure tells how far the rounds lie apart', () => {
  assert.deepEqual(figure([90, 100, 110]), { median: 100, spread: 0.1, rounds: [90, 100, 110] });
});

test('a ratio is the median over the rounds, so that one slow round of both does not count', () => {
  assert.equal(pairedRatio([100, 10, 120], [50, 5, 60]), 2);
});

test('promises are held or not, for ratios and for our own figure', () => {
  const peer = { name: 'peer', rounds: [10, 10] };
  assert.equal(compare('x', 'per second', [50, 50], peer, { direction: 'at least', limit: 5, of: 'ratio' }).held, true);
  assert.equal(compare('x', 'per second', [49, 49], peer, { direction: 'at least', limit: 5, of: 'ratio' }).held, false);
  assert.equal(compare('x', 'microseconds', [9, 9], peer, { direction: 'at most', limit: 1, of: 'ratio' }).held, true);
  assert.equal(compare('x', 'mebibytes', [300], null, { direction: 'at most', limit: 256, of: 'figure' }).held, false);
  assert.equal(compare('x', 'mebibytes', [300], null, null).held, null);
});

test('the table is aligned and names peers, ratios and promises', () => {
  const text = formatTable([
    compare(
      'echo',
      'per second',
      [120_000, 130_000, 140_000],
      { name: 'NATS', rounds: [20_000, 26_000, 28_000] },
      { direction: 'at least', limit: 5, of: 'ratio' },
    ),
    compare('memory', 'mebibytes', [180], null, { direction: 'at most', limit: 256, of: 'figure' }),
  ]);
  assert.equal(
    text,
    [
      'what             ours  peer or baseline    ratio  promise    held?',
      '──────  ─────────────  ──────────────────  ─────  ─────────  ─────',
      'echo    130,000/s ±8%  NATS 26,000/s ±15%  5.00×  ≥ 5×       yes',
      'memory        180 MiB  –                       –  ≤ 256 MiB  yes',
      '',
    ].join('\n'),
  );
});

test('values keep three to four digits', () => {
  assert.equal(formatValue(12.345, 'milliseconds'), '12.3 ms');
  assert.equal(formatValue(1.234, 'percent'), '1.23 %');
  assert.equal(formatValue(123_456, 'per second'), '123,500/s');
  assert.equal(formatValue(23_456, 'microseconds'), '23.5 ms');
});

test('contenders are measured in alternating order, after a round that does not count', async () => {
  const order: string[] = [];
  const contender = (name: string) => ({ name, measure: async () => order.push(name) });
  const measured = await interleave([contender('a'), contender('b')], 2, () => undefined);
  assert.deepEqual(order, ['b', 'a', 'a', 'b', 'b', 'a']);
  assert.deepEqual(
    [...measured],
    [
      ['a', [3, 6]],
      ['b', [4, 5]],
    ],
  );
});

test('a report names what was skipped and what failed; as JSON it is one object', () => {
  const finished = [
    {
      name: 'one',
      report: { comparisons: [], skipped: [{ what: 'one against it', reason: 'it is not installed' }], notes: ['a note'] },
      error: null,
    },
    { name: 'two', report: null, error: 'it broke' },
  ];
  const text = formatReport(MACHINE, finished);
  assert.match(text, /Skipped\n {2}one against it: it is not installed\n/);
  assert.match(text, /Failed\n {2}two: it broke\n/);
  assert.match(text, /Notes\n {2}a note\n/);
  assert.deepEqual(JSON.parse(JSON.stringify(reportObject(MACHINE, finished))).benches[1], { name: 'two', error: 'it broke' });
});

test('options are checked', () => {
  assert.deepEqual(readSettings(['--quick', '-only', 'echo'], ['echo']), {
    only: ['echo'],
    seconds: 1,
    rounds: 3,
    json: false,
    profile: null,
    help: false,
  });
  for (const argv of [['-only', 'other'], ['-seconds', '0'], ['-rounds', 'many'], ['word'], ['-unknown']]) {
    assert.throws(
      () => readSettings(argv, ['echo']),
      (error) => error instanceof TriggerFsError && error.code === 'TFS_USAGE',
      argv.join(' '),
    );
  }
});
