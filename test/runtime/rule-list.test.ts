import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { NewItem } from '../../runtime/acceptance/new-item.ts';
import { RuleList } from '../../runtime/acceptance/rule-list.ts';

const BASE: NewItem = { team: 1, source: 'api', caller: 'c', service: 's', plugin: 'p', payload: Buffer.from('one') };

function numbers(...items: NewItem[]): { numbers: number[]; rules: unknown[] } {
  const list = new RuleList();
  return { numbers: items.map((item) => list.add(item)), rules: JSON.parse(list.json()) as unknown[] };
}

test('items that differ in payload and idempotency key alone share a rule', () => {
  const { numbers: found, rules } = numbers(BASE, { ...BASE, payload: Buffer.from('two') }, { ...BASE, idempotencyKey: 'k' });
  assert.deepEqual(found, [1, 1, 1]);
  assert.deepEqual(rules, [{ sealed: true, team: 1, source: 'api', caller: 'c', service: 's', plugin: 'p' }]);
});

test('a rule is found again after another one', () => {
  assert.deepEqual(numbers(BASE, { ...BASE, service: 't' }, BASE).numbers, [1, 2, 1]);
});

test('a property that only one of them has makes another rule, in either order', () => {
  const delayed = { ...BASE, delayMs: 5 };
  const keyed = { ...BASE, idempotencyKey: 'k' };
  assert.deepEqual(numbers(delayed, keyed, delayed).numbers, [1, 2, 1]);
  assert.deepEqual(numbers(keyed, delayed).numbers, [1, 2]);
});

test('arguments count by what they say, whatever their names', () => {
  const { numbers: found, rules } = numbers(
    { ...BASE, args: { payload: 'x', idempotencyKey: 'y' } },
    { ...BASE, args: { payload: 'x', idempotencyKey: 'y' } },
    { ...BASE, args: { payload: 'z' } },
  );
  assert.deepEqual(found, [1, 1, 2]);
  assert.deepEqual((rules[0] as { args: unknown }).args, { payload: 'x', idempotencyKey: 'y' });
});
