import type { NewItem } from './new-item.ts';

type Rule = Omit<NewItem, 'payload' | 'idempotencyKey'>;

/** The rules of items that are accepted together: most differ in id and payload alone, so each rule is said once. */
export class RuleList {
  readonly #numbers = new Map<string, number>();
  #last: Rule | null = null;
  #lastNumber = 0;

  /** The number of the item's rule, from 1. */
  add(item: NewItem): number {
    if (this.#last !== null && agrees(this.#last, item) && agrees(item, this.#last)) return this.#lastNumber;
    const { payload: _payload, idempotencyKey: _key, ...rule } = item;
    const text = JSON.stringify(rule);
    const number = this.#numbers.get(text) ?? this.#numbers.size + 1;
    this.#numbers.set(text, number);
    this.#last = rule;
    this.#lastNumber = number;
    return number;
  }

  /** All rules in the order of their numbers, as `triggerfs.enqueue_batch` takes them with sealed payloads. */
  json(): string {
    return `[${[...this.#numbers.keys()].map((text) => `{"sealed":true,${text.slice(1)}`).join(',')}]`;
  }
}

/** Whether everything that one rule says is said by the other too: a look that spares most items the JSON. */
function agrees(one: Rule, other: Rule): boolean {
  for (const name in one) {
    if (name === 'payload' || name === 'idempotencyKey') continue;
    if (one[name as keyof Rule] !== other[name as keyof Rule]) return false;
  }
  return true;
}
