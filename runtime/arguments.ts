import { TriggerFsError } from '../protocol/errors.ts';

/** One option of a program, accepted as `-name` and `--name`. */
export interface OptionDefinition {
  /** `flag` takes no value (`-debug true` and `-debug=true` work too); `value` takes one; `values` may be repeated. */
  readonly kind: 'flag' | 'value' | 'values';
  /** Shown in -help: what the value is, such as `NAME`. */
  readonly value?: string;
  readonly doc: string;
}

type Definitions = Readonly<Record<string, OptionDefinition>>;
type Parsed<D extends Definitions> = {
  readonly [K in keyof D]: D[K]['kind'] extends 'flag' ? boolean : D[K]['kind'] extends 'values' ? readonly string[] : string | undefined;
};

/** Options and the words that are no options. */
export interface ParsedArguments<D extends Definitions> {
  readonly options: Parsed<D>;
  readonly words: readonly string[];
}

/**
 * Parses the arguments of a program in the documented style: one or two dashes, value in the next word or after `=`.
 * `--` ends the options.
 * @throws TriggerFsError TFS_USAGE naming the option
 */
export function parseArguments<const D extends Definitions>(definitions: D, argv: readonly string[]): ParsedArguments<D> {
  const options = emptyOptions(definitions);
  const words: string[] = [];
  const rest = [...argv];
  for (let word = rest.shift(); word !== undefined; word = rest.shift()) {
    if (word === '--') {
      words.push(...rest.splice(0));
      break;
    }
    const match = /^--?([a-zA-Z][a-zA-Z0-9-]*)(?:=([\s\S]*))?$/.exec(word);
    if (match === null) {
      words.push(word);
      continue;
    }
    const name = match[1] as string;
    const definition = Object.hasOwn(definitions, name) ? definitions[name] : undefined;
    if (definition === undefined) throw new TriggerFsError('TFS_USAGE', `unknown option ${word}`);
    if (definition.kind === 'flag') options[name] = flagValue(name, match[2], rest);
    else setValue(options, name, definition, match[2] ?? rest.shift());
  }
  return { options: options as Parsed<D>, words };
}

type Options = Record<string, boolean | string | string[] | undefined>;

function emptyOptions(definitions: Definitions): Options {
  const initial = { flag: () => false, values: () => [], value: () => undefined };
  return Object.fromEntries(Object.entries(definitions).map(([name, definition]) => [name, initial[definition.kind]()]));
}

function flagValue(name: string, given: string | undefined, rest: string[]): boolean {
  const value = given ?? (rest[0] === 'true' || rest[0] === 'false' ? rest.shift() : 'true');
  if (value !== 'true' && value !== 'false') throw new TriggerFsError('TFS_USAGE', `-${name} takes true or false, not ${value}`);
  return value === 'true';
}

function setValue(options: Options, name: string, definition: OptionDefinition, value: string | undefined): void {
  if (value === undefined) throw new TriggerFsError('TFS_USAGE', `-${name} needs a value`);
  if (definition.kind === 'values') (options[name] as string[]).push(value);
  else options[name] = value;
}

/** Text of -help: usage line, then the options in aligned columns. */
export function formatHelp(usage: string, definitions: Definitions): string {
  const rows = Object.entries(definitions).map(([name, definition]) => {
    const left = definition.kind === 'flag' ? `-${name}` : `-${name} ${definition.value ?? 'VALUE'}`;
    return [left, definition.doc] as const;
  });
  const width = Math.max(...rows.map(([left]) => left.length));
  return `${usage}\n\n${rows.map(([left, doc]) => `  ${left.padEnd(width)}  ${doc}`).join('\n')}\n`;
}
