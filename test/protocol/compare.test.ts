import assert from 'node:assert/strict';
import { test } from 'node:test';
import { compareConfigurations } from '../../protocol/configuration/compare.ts';

/** The difference as lines. */
function difference(before: readonly string[], after: readonly string[]): string[] {
  return compareConfigurations(before, after).flatMap(({ object, lines }) => [
    `[${object}]`,
    ...lines.map(({ change, command }) => `${change === 'added' ? '+' : '-'} ${command}`),
  ]);
}

const ADD = 'set services s1 workers add';

test('equal texts do not differ, also when they are empty', () => {
  const text = ['set workers identity w1', 'set services name s1', `${ADD} w1`];
  assert.deepEqual(difference(text, text), []);
  assert.deepEqual(difference([], []), []);
});

test('what goes stands before what comes, below the object that it belongs to', () => {
  const before = [
    'set teams description old',
    'set workers identity w1',
    'set services name s1',
    'set services s1 timeout 5s',
    `${ADD} w1`,
  ];
  const after = [
    'set teams description new',
    'set workers identity w2',
    'set services name s1',
    'set services s1 timeout 10s',
    `${ADD} w2`,
  ];
  assert.deepEqual(difference(before, after), [
    '[teams]',
    '- set teams description old',
    '+ set teams description new',
    '[workers w1]',
    '- set workers identity w1',
    '[workers w2]',
    '+ set workers identity w2',
    '[services s1]',
    '- set services s1 timeout 5s',
    `- ${ADD} w1`,
    '+ set services s1 timeout 10s',
    `+ ${ADD} w2`,
  ]);
});

test('the order of a service\u2019s workers counts', () => {
  const service = (workers: readonly string[]): string[] => ['set services name s1', ...workers.map((worker) => `${ADD} ${worker}`)];
  assert.deepEqual(difference(service(['a', 'b', 'c', 'd']), service(['b', 'c', 'd', 'a'])), ['[services s1]', `- ${ADD} a`, `+ ${ADD} a`]);
});

test('the second text results when the differences are applied to the first, for texts of any order', () => {
  let seed = 7;
  const random = (below: number): number => {
    seed = (seed * 48_271) % 2_147_483_647;
    return seed % below;
  };
  for (let round = 0; round < 200; round += 1) {
    const pick = (): string[] => [...new Set(Array.from({ length: random(12) }, () => `${ADD} w${random(15)}`))];
    const [before, after] = [pick(), pick()];
    const lines = compareConfigurations(before, after)[0]?.lines ?? [];
    const removed = new Set(lines.filter(({ change }) => change === 'removed').map(({ command }) => command));
    const added = new Set(lines.filter(({ change }) => change === 'added').map(({ command }) => command));
    const kept = before.filter((command) => !removed.has(command));
    assert.deepEqual(
      after.filter((command) => !added.has(command)),
      kept,
    );
    assert.deepEqual([...new Set([...kept, ...added])].toSorted(), after.toSorted());
  }
});

test('ten thousand workers of a service are compared in a moment', () => {
  const many = Array.from({ length: 10_000 }, (_, index) => `${ADD} w${index}`);
  const begun = performance.now();
  const lines = compareConfigurations(many, many.toReversed())[0]?.lines ?? [];
  assert.equal(lines.length, 2 * 9_999);
  assert.ok(performance.now() - begun < 5_000);
});
