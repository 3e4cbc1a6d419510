import assert from 'node:assert/strict';
import { test } from 'node:test';
import { joinOutcome, type Outcome, type RunVerdict } from '../../protocol/outcome.ts';
import type { VerdictName } from '../../protocol/verdicts.ts';

function join(runs: readonly [VerdictName, number][]): Outcome {
  const verdict = ([name, exitCode]: [VerdictName, number]): RunVerdict => {
    return { worker: 'w', verdict: name, exitCode, signal: 0, attempt: 0, durationUs: 0, error: null, detail: name };
  };
  return runs.map((run) => verdict(run)).reduce<Outcome | null>(joinOutcome, null) as Outcome;
}

test('the outcome of several runs is the worst verdict and the largest exit code, whatever their order', () => {
  const cases: [[VerdictName, number][], VerdictName, number][] = [
    [
      [
        ['ok', 0],
        ['ok', 0],
      ],
      'ok',
      0,
    ],
    [
      [
        ['ok', 0],
        ['failed', 3],
        ['failed', 2],
      ],
      'failed',
      3,
    ],
    [
      [
        ['ok', 0],
        ['cancelled', 0],
      ],
      'cancelled',
      130,
    ],
    [
      [
        ['failed', 3],
        ['cancelled', 0],
        ['cancelled', 0],
      ],
      'failed',
      3,
    ],
    [
      [
        ['failed', 3],
        ['timeout', 0],
      ],
      'timeout',
      124,
    ],
    [
      [
        ['failed', 255],
        ['timeout', 0],
      ],
      'timeout',
      255,
    ],
    [
      [
        ['ok', 0],
        ['worker-lost', 0],
        ['failed', 1],
      ],
      'worker-lost',
      69,
    ],
    [
      [
        ['denied', 0],
        ['no-worker', 0],
      ],
      'denied',
      77,
    ],
  ];
  for (const [runs, verdict, exitCode] of cases) {
    for (const order of [runs, [...runs].reverse(), [...runs.slice(1), ...runs.slice(0, 1)]]) {
      const outcome = join(order);
      assert.deepEqual(
        [outcome.verdict, outcome.exitCode, outcome.runs, outcome.detail],
        [verdict, exitCode, runs.length, verdict],
        JSON.stringify(order),
      );
    }
  }
});
