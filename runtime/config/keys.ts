import { parseDuration, parseSize } from '../../protocol/quantity.ts';

/** How one key of triggerfs.toml is read. `parse` returns the value, or throws an Error that names what is expected. */
export interface Key<T> {
  readonly doc: string;
  readonly fallback: T;
  /** How the fallback is shown in docs and help. */
  readonly shown: string;
  readonly secret: boolean;
  parse(value: unknown): T;
}

type Parse<T> = (value: unknown) => T;

function key<T>(doc: string, fallback: T, parse: Parse<T>, shown?: string): Key<T> {
  return { doc, fallback, parse, shown: shown ?? JSON.stringify(fallback) ?? '', secret: false };
}

function expectText(value: unknown): string {
  if (typeof value !== 'string') throw new Error('a text in quotes is expected');
  return value;
}

/** A text; empty when absent. */
export function text(doc: string, fallback = ''): Key<string> {
  return key(doc, fallback, expectText);
}

/** A text that never appears in logs or errors. */
export function secret(doc: string): Key<string> {
  return { ...text(doc), secret: true };
}

/** A whole number in a range. */
export function integer(doc: string, fallback: number, minimum: number, maximum: number): Key<number> {
  return key(doc, fallback, (value) => {
    if (typeof value !== 'number' || !Number.isInteger(value) || value < minimum || value > maximum) {
      throw new Error(`a whole number from ${minimum} to ${maximum} is expected`);
    }
    return value;
  });
}

/** true or false. */
export function flag(doc: string, fallback: boolean): Key<boolean> {
  return key(doc, fallback, (value) => {
    if (typeof value !== 'boolean') throw new Error('true or false is expected');
    return value;
  });
}

function expectDuration(value: unknown): number {
  const ms = parseDuration(expectText(value));
  if (ms === null) throw new Error('a duration such as "500ms", "10s" or "5m" is expected');
  return ms;
}

/** A duration such as "10s", in milliseconds. */
export function duration(doc: string, fallback: string): Key<number> {
  return key(doc, expectDuration(fallback), expectDuration, JSON.stringify(fallback));
}

/** A duration that is decided elsewhere when it is absent, which is null; `shown` says by whom. */
export function optionalDuration(doc: string, shown: string): Key<number | null> {
  return key<number | null>(doc, null, expectDuration, shown);
}

/** A size such as "1GB", in bytes. */
export function size(doc: string, fallback: string): Key<number> {
  const parse = (value: unknown): number => {
    const bytes = parseSize(expectText(value));
    if (bytes === null) throw new Error('a size such as "64KB" or "1GB" is expected');
    return bytes;
  };
  return key(doc, parse(fallback), parse, JSON.stringify(fallback));
}

/** One of a few words. */
export function choice<const T extends string>(doc: string, words: readonly T[], fallback: NoInfer<T>): Key<T> {
  return key<T>(doc, fallback, (value) => {
    const word = words.find((candidate) => candidate === value);
    if (word === undefined) throw new Error(`one of ${words.map((w) => JSON.stringify(w)).join(', ')} is expected`);
    return word;
  });
}

/** A list of texts; null when absent. */
export function texts(doc: string): Key<readonly string[] | null> {
  return key<readonly string[] | null>(
    doc,
    null,
    (value) => {
      if (!Array.isArray(value)) throw new Error('a list of texts is expected');
      return value.map(expectText);
    },
    'all',
  );
}
