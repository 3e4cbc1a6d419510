import { type ArgumentSchema, parseArgumentSchema } from './arguments.ts';

/** How a plugin is run: one process per run, one process for many runs, or long-lived and broadcasting. */
export const PLUGIN_KINDS = ['exec', 'resident', 'stream'] as const;

/** Name of a kind. */
export type PluginKind = (typeof PLUGIN_KINDS)[number];

/** A plugin.json that was checked. */
export interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly description: string;
  readonly kind: PluginKind;
  /** The program and its arguments; the first word is a file of the plugin's folder, or a program of the PATH. */
  readonly exec: readonly [string, ...string[]];
  /** Null: every argument is taken, as text. */
  readonly args: ArgumentSchema | null;
  /** A call that shows the plugin at work, for the marketplace. */
  readonly invocation: { readonly command: string; readonly args: Readonly<Record<string, string>> };
  readonly author: string;
  readonly licence: string;
  /** Resident: runs are done one after another in the order of their arrival, over a restart of the process too. */
  readonly ordered: boolean;
  /** Resident: runs after which the process is replaced. */
  readonly recycleAfter: number;
}

/** A plugin.json that cannot be used; the message names the key and what is expected. */
export class ManifestError extends Error {
  override name = 'ManifestError';
}

const KEYS = new Set([
  'name',
  'version',
  'description',
  'kind',
  'exec',
  'args',
  'invocation',
  'author',
  'licence',
  'ordered',
  'recycleAfter',
]);
const DEFAULT_RECYCLE_AFTER = 10_000_000;
const MAX_TEXT = 4096;
/** Names and versions travel in announcements. */
const MAX_WORD = 128;

/** Parses the text of a plugin.json. @throws ManifestError */
export function parseManifest(source: string): Manifest {
  const table = parseTable(source);
  for (const key of Object.keys(table)) if (!KEYS.has(key)) throw new ManifestError(`${key}: unknown key`);
  return {
    name: text(table, 'name', undefined, MAX_WORD),
    version: text(table, 'version', '0.0.0', MAX_WORD),
    description: text(table, 'description', ''),
    kind: kind(table.kind),
    exec: command(table.exec),
    args: table.args === undefined ? null : schema(table.args),
    invocation: invocation(table.invocation),
    author: text(table, 'author', ''),
    licence: text(table, 'licence', ''),
    ordered: flag(table, 'ordered'),
    recycleAfter: count(table, 'recycleAfter', DEFAULT_RECYCLE_AFTER),
  };
}

/** The manifest of an executable without a plugin.json: an exec plugin that takes any argument. */
export function defaultManifest(name: string, executable: string): Manifest {
  return {
    name,
    version: '0.0.0',
    description: '',
    kind: 'exec',
    exec: [executable],
    args: null,
    invocation: { command: '', args: {} },
    author: '',
    licence: '',
    ordered: false,
    recycleAfter: DEFAULT_RECYCLE_AFTER,
  };
}

type Table = Readonly<Record<string, unknown>>;

function parseTable(source: string): Table {
  let value: unknown;
  try {
    value = JSON.parse(source);
  } catch (cause) {
    throw new ManifestError(`not JSON: ${(cause as Error).message}`, { cause });
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new ManifestError('a JSON object is expected');
  return value as Table;
}

function text(table: Table, key: string, fallback?: string, limit = MAX_TEXT): string {
  const value = table[key] ?? fallback;
  if (typeof value !== 'string' || value.length > limit)
    throw new ManifestError(`${key}: a text of at most ${limit} characters is expected`);
  return value;
}

function flag(table: Table, key: string): boolean {
  const value = table[key] ?? false;
  if (typeof value !== 'boolean') throw new ManifestError(`${key}: true or false is expected`);
  return value;
}

function count(table: Table, key: string, fallback: number): number {
  const value = table[key] ?? fallback;
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 1) throw new ManifestError(`${key}: a positive number is expected`);
  return value;
}

function kind(value: unknown): PluginKind {
  const found = PLUGIN_KINDS.find((candidate) => candidate === value);
  if (found === undefined) throw new ManifestError(`kind: one of ${PLUGIN_KINDS.join(', ')} is expected`);
  return found;
}

function command(value: unknown): readonly [string, ...string[]] {
  const words: unknown[] = Array.isArray(value) ? value : [value];
  const wrong = words.length === 0 || words.some((word) => typeof word !== 'string' || word.includes('\0')) || words[0] === '';
  if (wrong) throw new ManifestError('exec: a file of the plugin’s folder, or a list of program and arguments, is expected');
  return words as [string, ...string[]];
}

function schema(value: unknown): ArgumentSchema {
  try {
    return parseArgumentSchema(value);
  } catch (cause) {
    throw new ManifestError(`args.${(cause as Error).message}`, { cause });
  }
}

function invocation(value: unknown): Manifest['invocation'] {
  if (value === undefined) return { command: '', args: {} };
  const { command, args } = value as { command?: unknown; args?: unknown };
  if (typeof (command ?? '') !== 'string') throw new ManifestError('invocation.command: a text is expected');
  const entries = Object.entries((args ?? {}) as Table).map(([name, word]) => [name, String(word)] as const);
  return { command: (command ?? '') as string, args: Object.fromEntries(entries) };
}
