/** What a value of a request is read as. `text` takes JSON texts, numbers and booleans; `json` takes anything and hands it on as JSON. */
export const SOURCE_TYPES = ['text', 'integer', 'number', 'boolean', 'json'] as const;
export type SourceType = (typeof SOURCE_TYPES)[number];

/** Where in an HTTP request a value comes from. */
export type SourcePlace =
  | { readonly from: 'body' | 'none' | 'method' | 'address' }
  | { readonly from: 'form' | 'query' | 'header'; readonly name: string }
  /** Keys and indexes from the root of the JSON body; empty for all of it. */
  | { readonly from: 'path'; readonly steps: readonly (string | number)[] }
  | { readonly from: 'const'; readonly text: string };

/** A source as it was written, such as `integer:$.order.lines[0].count?=1`. */
export interface Source {
  readonly type: SourceType;
  readonly place: SourcePlace;
  /** Without the value the request is still good. */
  readonly optional: boolean;
  /** Used when the value is missing; null for none. */
  readonly fallback: string | null;
}

/** Longest source. */
export const MAX_SOURCE_LENGTH = 1024;
const MAX_STEPS = 32;
const TYPED = /^(text|integer|number|boolean|json):/;
const STEP = /\.([A-Za-z_][A-Za-z0-9_-]*)|\[(0|[1-9][0-9]{0,8})\]|\[("(?:[^"\\]|\\["\\])*")\]/y;
const HEADER_NAME = /^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}$/;
const BARE: Readonly<Record<string, SourcePlace>> = {
  body: { from: 'body' },
  none: { from: 'none' },
  method: { from: 'method' },
  address: { from: 'address' },
};

/**
 * Reads `[TYPE:]PLACE[?[=DEFAULT]]`. PLACE is `$.json.path[0]["any key"]`, `form.NAME`, `query.NAME`, `header.NAME`, `body`,
 * `method`, `address`, `none` or `const:TEXT`. Null for anything else: there are no wildcards, filters or expressions.
 */
export function parseSource(text: string): Source | null {
  if (text.length === 0 || text.length > MAX_SOURCE_LENGTH || text.includes('\0') || !text.isWellFormed()) return null;
  if (text.startsWith('const:')) return { type: 'text', place: { from: 'const', text: text.slice(6) }, optional: false, fallback: null };
  const type = (TYPED.exec(text)?.[1] ?? 'text') as SourceType;
  const rest = text.replace(TYPED, '');
  return rest.startsWith('$') ? pathSource(type, rest) : namedSource(type, rest);
}

/** Whether a source reads the body, so that the body must be JSON or a form. */
export function readsBody({ place }: Source): 'json' | 'form' | null {
  if (place.from === 'path') return 'json';
  return place.from === 'form' ? 'form' : null;
}

function pathSource(type: SourceType, text: string): Source | null {
  const steps: (string | number)[] = [];
  let at = 1;
  for (STEP.lastIndex = at; at < text.length && text[at] !== '?'; at = STEP.lastIndex) {
    const [, name, index, quoted] = STEP.exec(text) ?? [];
    const step = name ?? (index === undefined ? unquote(quoted) : Number(index));
    if (step === undefined || steps.length === MAX_STEPS) return null;
    steps.push(step);
  }
  return withEnd(type, { from: 'path', steps }, text.slice(at));
}

function namedSource(type: SourceType, text: string): Source | null {
  const end = text.indexOf('?');
  const [head, tail] = end < 0 ? [text, ''] : [text.slice(0, end), text.slice(end)];
  const [, from, name = ''] = /^(form|query|header)\.(.{1,200})$/s.exec(head) ?? [];
  if (from === undefined) return Object.hasOwn(BARE, head) ? withEnd(type, BARE[head] as SourcePlace, tail) : null;
  if (from === 'header') return HEADER_NAME.test(name) ? withEnd(type, { from, name: name.toLowerCase() }, tail) : null;
  return withEnd(type, { from: from as 'form' | 'query', name }, tail);
}

function withEnd(type: SourceType, place: SourcePlace, end: string): Source | null {
  if (end === '' || end === '?') return { type, place, optional: end === '?', fallback: null };
  return end.startsWith('?=') ? { type, place, optional: true, fallback: end.slice(2) } : null;
}

function unquote(text: string | undefined): string | undefined {
  return text?.slice(1, -1).replace(/\\(["\\])/g, '$1');
}
