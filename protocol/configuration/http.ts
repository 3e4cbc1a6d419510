import { TriggerFsError } from '../errors.ts';
import { type HookChange, type HookSettings, HTTP_DEFAULTS, type HttpChange, type HttpSettings } from '../http/gateway.ts';
import { isName } from '../names.ts';
import { HOOK_FIELDS, HOOK_WORDS, HTTP_FIELDS, HTTP_WORDS, type HttpValue, type HttpWord } from './http-words.ts';
import type { Operation } from './operations.ts';
import { quote } from './tokens.ts';

/** What the parser reads from: the words of a command that are left. */
export interface WordReader {
  readonly isDone: boolean;
  take(words: readonly string[]): string | null;
  keyword(words: readonly string[]): string;
  text(what: string): string;
}

type HttpOperation = Extract<Operation, { verb: 'http' | 'hook' }>;
type Change = Readonly<Record<string, HttpValue | null | Readonly<Record<string, HttpValue | null>>>>;

/** Reads what stands after `set services NAME http`. @throws TriggerFsError TFS_USAGE, TFS_BAD_NAME */
export function readSetHttp(words: WordReader, name: string): Operation {
  if (words.take(['hook']) !== null) {
    const hook = readHookName(words);
    return { verb: 'hook', object: 'services', name, hook, change: (words.isDone ? {} : readSet(words, HOOK_WORDS)) as HookChange };
  }
  return { verb: 'http', object: 'services', name, change: readSet(words, HTTP_WORDS) as HttpChange };
}

/** Reads what stands after `delete services NAME http`. @throws TriggerFsError TFS_USAGE, TFS_BAD_NAME */
export function readDeleteHttp(words: WordReader, name: string): Operation {
  if (words.isDone) return { verb: 'http', object: 'services', name, change: null };
  if (words.take(['hook']) !== null) {
    const hook = readHookName(words);
    return { verb: 'hook', object: 'services', name, hook, change: words.isDone ? null : (readReset(words, HOOK_WORDS) as HookChange) };
  }
  return { verb: 'http', object: 'services', name, change: readReset(words, HTTP_WORDS) as HttpChange };
}

/** Writes the command that reads back as the operation. */
export function formatHttp(operation: HttpOperation): string {
  const subject = `services ${quote(operation.name)} http`;
  if (operation.verb === 'http')
    return operation.change === null ? `delete ${subject}` : formatChange(subject, operation.change, HTTP_WORDS);
  const hook = `${subject} hook ${quote(operation.hook)}`;
  if (operation.change === null) return `delete ${hook}`;
  return Object.keys(operation.change).length === 0 ? `set ${hook}` : formatChange(hook, operation.change, HOOK_WORDS);
}

/** Operations that bring a new service to these settings. */
export function describeHttp(name: string, http: HttpSettings): readonly Operation[] {
  const raw = http.answer === 'raw' && http.contentType !== HTTP_DEFAULTS.contentType;
  const changes = differences(raw ? { ...http, contentType: HTTP_DEFAULTS.contentType } : http, HTTP_FIELDS, HTTP_WORDS);
  return changes.map((change) => {
    const whole = raw && Object.hasOwn(change, 'answer') ? { ...change, contentType: http.contentType } : change;
    return { verb: 'http', object: 'services', name, change: whole as HttpChange };
  });
}

/** Operations that make a hook with these settings; its secrets are no part of the text. */
export function describeHook(service: string, hook: string, settings: HookSettings): readonly Operation[] {
  const operation = (change: object): Operation => ({
    verb: 'hook',
    object: 'services',
    name: service,
    hook,
    change: change as HookChange,
  });
  return [operation({}), ...differences(settings, HOOK_FIELDS, HOOK_WORDS).map(operation)];
}

function readHookName(words: WordReader): string {
  const hook = words.text('the name of the hook');
  if (isName(hook)) return hook;
  throw new TriggerFsError('TFS_BAD_NAME', `${JSON.stringify(hook)} is no name: letters, digits, dot, dash and underscore, at most 63`);
}

function readSet(words: WordReader, table: Readonly<Record<string, HttpWord>>): Change {
  const key = words.keyword(table === HTTP_WORDS ? [...Object.keys(table), 'hook'] : Object.keys(table));
  const word = table[key] as HttpWord;
  const text = words.text(`the value of ${key} (${word.usage})`);
  if (word.entries) return { [word.field]: readEntry(word, key, text) };
  const value = word.parse(text);
  if (word.field === 'answer' && value === 'raw' && !words.isDone) {
    return { answer: value, contentType: (HTTP_WORDS.type as HttpWord).parse(words.text('the content type')) };
  }
  return { [word.field]: value };
}

function readEntry(word: HttpWord, key: string, pair: string): Readonly<Record<string, HttpValue>> {
  const end = pair.indexOf('=');
  if (end < 0) throw new TriggerFsError('TFS_USAGE', `${key} is written ${word.usage}, not ${pair}`);
  return { [word.checkKey(pair.slice(0, end))]: word.parse(pair.slice(end + 1)) };
}

function readReset(words: WordReader, table: Readonly<Record<string, HttpWord>>): Change {
  const key = words.keyword(Object.keys(table));
  const { field, entries, checkKey } = table[key] as HttpWord;
  return { [field]: entries && !words.isDone ? { [checkKey(words.text(`which ${key}`))]: null } : null };
}

/** An operation changes one setting or entry, or the answer with its type. */
function formatChange(subject: string, change: object, table: Readonly<Record<string, HttpWord>>): string {
  const fields = Object.entries(change as Change);
  const [field, value] = fields.find(([name]) => name === 'answer') ?? (fields[0] as [string, Change[string]]);
  const [key] = Object.entries(table).find(([, word]) => word.field === field) ?? [''];
  if (value === null) return `delete ${subject} ${key}`;
  if (typeof value === 'object' && !Array.isArray(value)) {
    const [name, entry] = Object.entries(value)[0] ?? ['', null];
    return entry === null
      ? `delete ${subject} ${key} ${quote(name)}`
      : `set ${subject} ${key} ${quote(`${name}=${formatValue(field, entry)}`)}`;
  }
  const type = (change as HttpChange).contentType;
  const appendix = field === 'answer' && typeof type === 'string' ? ` ${quote(type)}` : '';
  return `set ${subject} ${key} ${quote(formatValue(field, value as HttpValue))}${appendix}`;
}

function formatValue(field: string, value: HttpValue): string {
  if (typeof value === 'boolean') return value ? 'on' : 'off';
  if (typeof value === 'number')
    return field === 'toleranceMs' ? `${value % 1000 === 0 ? `${value / 1000}s` : `${value}ms`}` : String(value);
  if (typeof value === 'string') return value;
  return field === 'methods' ? value.join(',').toLowerCase() : value.join(',');
}

/** One change for each setting or entry that differs from the default. */
function differences(settings: object, defaults: Readonly<Record<string, unknown>>, table: Readonly<Record<string, HttpWord>>): Change[] {
  const values = settings as Readonly<Record<string, HttpValue | Readonly<Record<string, HttpValue>>>>;
  return Object.values(table).flatMap(({ field, entries }): Change[] => {
    const value = values[field];
    if (entries)
      return Object.entries(value as Readonly<Record<string, HttpValue>>)
        .toSorted(byKey)
        .map(([key, entry]) => ({ [field]: { [key]: entry } }));
    return value === undefined || JSON.stringify(value) === JSON.stringify(defaults[field]) ? [] : [{ [field]: value as HttpValue }];
  });
}

function byKey([a]: readonly [string, unknown], [b]: readonly [string, unknown]): number {
  return a < b ? -1 : 1;
}
