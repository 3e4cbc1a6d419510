const TYPES = ['string', 'number', 'integer', 'boolean'] as const;

/** A value of a plugin's argument, after its type. */
export type ArgumentValue = string | number | boolean;

/** What a plugin says about one of its arguments. */
export interface ArgumentDefinition {
  readonly type: (typeof TYPES)[number];
  readonly description: string;
  readonly required: boolean;
  readonly default: ArgumentValue | null;
  /** Allowed values; null allows all. */
  readonly enum: readonly ArgumentValue[] | null;
  /** Regular expression that a text must match. */
  readonly pattern: string | null;
  /** The value is a secret: never logged, never stored. */
  readonly sensitive: boolean;
}

/** The arguments of a plugin by name. */
export type ArgumentSchema = Readonly<Record<string, ArgumentDefinition>>;

/** Arguments as a plugin receives them. */
export type Arguments = Readonly<Record<string, ArgumentValue>>;

/** An argument that breaks the schema; the message names it and what is expected, never its value. */
export class ArgumentError extends Error {
  override name = 'ArgumentError';
}

const NAME = /^[A-Za-z_][A-Za-z0-9_.-]{0,62}$/;
const KEYS = new Set(['type', 'description', 'required', 'default', 'enum', 'pattern', 'sensitive']);

/** Checks the `args` of a plugin.json. @throws ArgumentError whose message starts with the name of the argument */
export function parseArgumentSchema(value: unknown): ArgumentSchema {
  if (!isTable(value)) throw new ArgumentError('*: an object of arguments is expected');
  return Object.fromEntries(Object.entries(value).map(([name, entry]) => [name, definition(name, entry)]));
}

/**
 * Gives the texts of a caller their types, and the missing ones their defaults. Without a schema texts stay texts.
 * @throws ArgumentError
 */
export function typeArguments(schema: ArgumentSchema | null, given: Readonly<Record<string, string>>): Arguments {
  for (const [name, text] of Object.entries(given)) {
    if (text.includes('\0')) throw new ArgumentError(`argument ${name}: a text without NUL is expected`);
  }
  if (schema === null) return given;
  const typed: Record<string, ArgumentValue> = {};
  for (const name of Object.keys(given)) {
    if (!Object.hasOwn(schema, name))
      throw new ArgumentError(`unknown argument ${name}; known: ${Object.keys(schema).join(', ') || 'none'}`);
  }
  for (const [name, definition] of Object.entries(schema)) {
    if (Object.hasOwn(given, name)) typed[name] = typeOne(name, definition, given[name] as string);
    else if (definition.default !== null) typed[name] = definition.default;
    else if (definition.required) throw new ArgumentError(`argument ${name} is missing: ${expectation(definition)} is expected`);
  }
  return typed;
}

function typeOne(name: string, definition: ArgumentDefinition, text: string): ArgumentValue {
  const value = convert(definition.type, text);
  const allowed =
    value !== null &&
    (definition.enum === null || definition.enum.includes(value)) &&
    (definition.pattern === null || new RegExp(definition.pattern).test(text));
  if (!allowed) throw new ArgumentError(`argument ${name}: ${expectation(definition)} is expected`);
  return value;
}

function convert(type: ArgumentDefinition['type'], text: string): ArgumentValue | null {
  if (type === 'string') return text;
  if (type === 'boolean') return text === 'true' ? true : text === 'false' ? false : null;
  const number = /^[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?$/i.test(text) ? Number(text) : Number.NaN;
  if (!Number.isFinite(number)) return null;
  return type === 'number' || Number.isSafeInteger(number) ? number : null;
}

function expectation(definition: ArgumentDefinition): string {
  if (definition.enum !== null) return `one of ${definition.enum.join(', ')}`;
  const names = { string: 'a text', number: 'a number', integer: 'a whole number', boolean: 'true or false' };
  const name = names[definition.type];
  return definition.pattern === null ? name : `${name} matching ${definition.pattern}`;
}

function definition(name: string, entry: unknown): ArgumentDefinition {
  if (!NAME.test(name)) throw new ArgumentError(`${name}: not a name for an argument`);
  if (!isTable(entry)) throw new ArgumentError(`${name}: an object is expected`);
  for (const key of Object.keys(entry)) if (!KEYS.has(key)) throw new ArgumentError(`${name}.${key}: unknown key`);
  const type = TYPES.find((candidate) => candidate === (entry.type ?? 'string'));
  if (type === undefined) throw new ArgumentError(`${name}.type: one of ${TYPES.join(', ')} is expected`);
  return {
    type,
    description: checked(name, 'description', entry.description ?? '', 'string'),
    required: checked(name, 'required', entry.required ?? false, 'boolean'),
    default: entry.default === undefined ? null : typedValue(name, 'default', type, entry.default),
    enum: entry.enum === undefined ? null : choices(name, type, entry.enum),
    pattern: entry.pattern === undefined ? null : expression(name, entry.pattern),
    sensitive: checked(name, 'sensitive', entry.sensitive ?? false, 'boolean'),
  };
}

function checked<T extends 'string' | 'boolean'>(
  name: string,
  key: string,
  value: unknown,
  type: T,
): T extends 'string' ? string : boolean {
  if (typeof value !== type) throw new ArgumentError(`${name}.${key}: a ${type} is expected`);
  return value as T extends 'string' ? string : boolean;
}

function typedValue(name: string, key: string, type: ArgumentDefinition['type'], value: unknown): ArgumentValue {
  const fits = type === 'integer' ? Number.isSafeInteger(value) : typeof value === type;
  if (!fits) throw new ArgumentError(`${name}.${key}: a value of type ${type} is expected`);
  return value as ArgumentValue;
}

function choices(name: string, type: ArgumentDefinition['type'], value: unknown): readonly ArgumentValue[] {
  if (!Array.isArray(value) || value.length === 0) throw new ArgumentError(`${name}.enum: a list of values is expected`);
  return value.map((one) => typedValue(name, 'enum', type, one));
}

function expression(name: string, value: unknown): string {
  try {
    return new RegExp(checked(name, 'pattern', value, 'string')).source;
  } catch (cause) {
    throw new ArgumentError(`${name}.pattern: a regular expression is expected`, { cause });
  }
}

function isTable(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
