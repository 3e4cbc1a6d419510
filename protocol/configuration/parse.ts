import { TriggerFsError } from '../errors.ts';
import { isArgumentName, isName, isPluginName, isTreePath } from '../names.ts';
import { readDeleteHttp, readSetHttp } from './http.ts';
import { LISTS, type ListName, OBJECTS, type ObjectName, type Operation, objectName, type Settings } from './operations.ts';
import { SETTINGS, type Setting } from './settings.ts';
import { isPipe, type Token, tokenize } from './tokens.ts';

const VERBS = ['set', 'delete', 'rename'];
/** Words with a grammar of their own. */
const EXTRA: Readonly<Partial<Record<ObjectName, readonly string[]>>> = { triggers: ['args'], schedules: ['args'], services: ['http'] };

/** A command of a text with where it stands. */
export interface ParsedCommand {
  /** Counted from 1; empty lines and comments count too. */
  readonly line: number;
  readonly command: string;
  readonly operation: Operation;
}

/**
 * Reads one command, such as `set services demo timeout 10s`. Null for an empty line and for a comment (`#` in front).
 * @throws TriggerFsError TFS_USAGE, saying what was expected
 */
export function parseCommand(line: string): Operation | null {
  if (/^\s*(#|$)/.test(line)) return null;
  if (/[\n\r]/.test(line)) throw new TriggerFsError('TFS_USAGE', 'a command is one line; write line breaks as \\n in double quotes');
  const words = new Words(tokenize(line));
  const verb = words.keyword(VERBS);
  const object = readObject(words);
  const operation = verb === 'set' ? readSet(words, object) : verb === 'delete' ? readDelete(words, object) : readRename(words, object);
  words.end();
  return operation;
}

/**
 * Reads the commands of a text or file, one a line.
 * @throws TriggerFsError TFS_USAGE, naming line and command
 */
export function parseCommands(lines: readonly string[]): readonly ParsedCommand[] {
  return lines.flatMap((text, index) => {
    const command = text.trim();
    const operation = atLine(index + 1, command, () => parseCommand(text));
    return operation === null ? [] : [{ line: index + 1, command, operation }];
  });
}

/** An error that names the line and the command it comes from. */
export function errorAtLine(line: number, command: string, thrown: unknown): TriggerFsError {
  const { code, message, cause } = TriggerFsError.from(thrown);
  return new TriggerFsError(code, `line ${line}, "${command.length > 200 ? `${command.slice(0, 200)}…` : command}": ${message}`, { cause });
}

function atLine<T>(line: number, command: string, work: () => T): T {
  try {
    return work();
  } catch (thrown) {
    throw errorAtLine(line, command, thrown);
  }
}

/** The words of a command, read from left to right. */
class Words {
  readonly #tokens: readonly Token[];
  #at = 0;

  constructor(tokens: readonly Token[]) {
    const pipe = tokens.find(isPipe);
    if (pipe !== undefined) throw new TriggerFsError('TFS_USAGE', `quote the text with "|" at character ${pipe.start + 1}`);
    this.#tokens = tokens;
  }

  get isDone(): boolean {
    return this.#at === this.#tokens.length;
  }

  /** The next word if it is one of these, unquoted; else it stays. */
  take(words: readonly string[]): string | null {
    const token = this.#tokens[this.#at];
    if (token === undefined || token.quoted || !words.includes(token.text)) return null;
    this.#at += 1;
    return token.text;
  }

  /** @throws TriggerFsError TFS_USAGE unless the next word is one of these */
  keyword(words: readonly string[]): string {
    const word = this.take(words);
    if (word !== null) return word;
    const found = this.#tokens[this.#at];
    throw new TriggerFsError('TFS_USAGE', `expected ${words.join(', ')}${found === undefined ? '' : `, not ${found.text}`}`);
  }

  /** @throws TriggerFsError TFS_USAGE at the end of the command */
  text(what: string): string {
    const token = this.#tokens[this.#at];
    if (token === undefined) throw new TriggerFsError('TFS_USAGE', `${what} is missing at the end`);
    this.#at += 1;
    return token.text;
  }

  /** Whether exactly this many words are left. */
  left(count: number): boolean {
    return this.#tokens.length - this.#at === count;
  }

  /** @throws TriggerFsError TFS_USAGE unless all words are read */
  end(): void {
    const token = this.#tokens[this.#at];
    if (token !== undefined) throw new TriggerFsError('TFS_USAGE', `${token.text} is too much at the end; quote texts that contain blanks`);
  }
}

function readObject(words: Words): ObjectName {
  const word = words.text('the kind of object');
  const object = objectName(word);
  if (object !== null) return object;
  throw new TriggerFsError('TFS_USAGE', `there are no ${word}; expected ${Object.keys(OBJECTS).join(', ')}`);
}

function readSet(words: Words, object: ObjectName): Operation {
  const { naming, singular } = OBJECTS[object];
  // `set teams description TEXT` is about the team of this session.
  if (object === 'teams' && words.left(2) && words.take(['description']) !== null) {
    return { verb: 'change', object, name: '', settings: readSetting(words, object, 'description') };
  }
  if (words.take(naming) !== null) {
    const name = checkName(object, words.text(`the name of the new ${singular}`), true);
    return { verb: 'create', object, name, settings: readSettings(words, object) };
  }
  const name = checkName(object, words.text(`the name of the ${singular}`), false);
  const lists = LISTS[object] ?? {};
  if ((object === 'services' || object === 'triggers') && Object.keys(lists).length > 0) {
    const list = words.take(Object.keys(lists)) as ListName | null;
    if (list !== null) return readList(words, object, name, list);
  }
  if ((object === 'triggers' || object === 'schedules') && words.take(['args']) !== null) return readArgument(words, object, name);
  if (object === 'services' && words.take(['http']) !== null) return readSetHttp(words, name);
  if (words.isDone) throw new TriggerFsError('TFS_USAGE', `what of it is to be set? ${wordsOf(object).join(', ')}`);
  return { verb: 'change', object, name, settings: readSettings(words, object) };
}

/** One or several pairs of setting and value. */
function readSettings(words: Words, object: ObjectName): Settings {
  const settings: Record<string, Settings[string]> = {};
  while (!words.isDone) {
    const word = words.keyword(wordsOf(object).filter((name) => Object.hasOwn(SETTINGS[object], name)));
    Object.assign(settings, readSetting(words, object, word));
  }
  return settings;
}

function readSetting(words: Words, object: ObjectName, word: string): Settings {
  const { field, parse, usage } = SETTINGS[object][word] as Setting;
  return { [field]: parse(words.text(`the value of ${word} (${usage})`)) };
}

function readList(words: Words, object: 'services' | 'triggers', name: string, list: ListName): Operation {
  const { add, remove } = definitionOf(object, list);
  if (list === 'plugins' && words.left(1)) {
    const all = words.take(['all', 'none']);
    if (all !== null) return { verb: 'change', object, name, settings: { plugins: all === 'all' ? null : [] } };
  }
  if (words.take([remove]) !== null) {
    if (list === 'service' && words.isDone) return { verb: 'change', object, name, settings: { service: null } };
    return { verb: 'detach', object, name, list, item: checkItem(list, words.text(`what to ${remove}`)) };
  }
  words.keyword([add, remove]);
  return { verb: 'attach', object, name, list, item: checkItem(list, words.text(`what to ${add}`)) };
}

function readArgument(words: Words, object: 'triggers' | 'schedules', name: string): Operation {
  const pair = words.text('an argument as key=value');
  const end = pair.indexOf('=');
  if (end < 0) throw new TriggerFsError('TFS_USAGE', `an argument is written key=value, not ${pair}`);
  return { verb: 'argument', object, name, key: checkArgument(pair.slice(0, end)), value: pair.slice(end + 1) };
}

function readDelete(words: Words, object: ObjectName): Operation {
  const name = checkName(object, words.text(`the name of the ${OBJECTS[object].singular}`), false);
  if (words.isDone) return { verb: 'delete', object, name };
  const lists = LISTS[object] ?? {};
  const word = words.keyword(wordsOf(object));
  if (word === 'http') return readDeleteHttp(words, name);
  if (word === 'args' && (object === 'triggers' || object === 'schedules'))
    return { verb: 'argument', object, name, key: checkArgument(words.text('the name of the argument')), value: null };
  if (Object.hasOwn(lists, word)) return readDeleteItem(words, object as 'services' | 'triggers', name, word as ListName);
  const { field, initial } = SETTINGS[object][word] as Setting;
  if (initial === undefined) throw new TriggerFsError('TFS_USAGE', `${word} cannot be deleted, only set`);
  return { verb: 'change', object, name, settings: { [field]: initial } };
}

function readDeleteItem(words: Words, object: 'services' | 'triggers', name: string, list: ListName): Operation {
  if (words.isDone && list !== 'workers') return { verb: 'change', object, name, settings: { [list]: null } };
  return { verb: 'detach', object, name, list, item: checkItem(list, words.text(`which of the ${list}`)) };
}

function readRename(words: Words, object: ObjectName): Operation {
  const { rename, singular } = OBJECTS[object];
  if (!rename) throw new TriggerFsError('TFS_USAGE', `${object} cannot be renamed`);
  const name = checkName(object, words.text(`the name of the ${singular}`), false);
  words.keyword(['to']);
  // A trigger keeps its directory when only its file name is given.
  return { verb: 'rename', object, name, to: checkName(object, words.text('the new name'), object === 'directories') };
}

/** Words after an object's name: settings, lists and others. */
function wordsOf(object: ObjectName): string[] {
  return [...Object.keys(SETTINGS[object]), ...Object.keys(LISTS[object] ?? {}), ...(EXTRA[object] ?? [])];
}

function definitionOf(object: 'services' | 'triggers', list: ListName): { add: string; remove: string } {
  const definition = LISTS[object]?.[list];
  if (definition === undefined) throw new TriggerFsError('TFS_USAGE', `${object} have no ${list}`);
  return definition;
}

/** New triggers and directories are named by path, existing triggers by file name as well. */
function checkName(object: ObjectName, name: string, isNew: boolean): string {
  const isPath = isTreePath(name) && name !== '/' && !name.includes('/.');
  const isFile = isTreePath(`/${name}`) && !name.includes('/') && !name.startsWith('.');
  if (object === 'triggers' || object === 'directories') {
    if (isPath || (object === 'triggers' && !isNew && isFile)) return name;
    throw new TriggerFsError('TFS_BAD_NAME', `${JSON.stringify(name)} is no path of the file tree, such as /demo/command`);
  }
  if (object === 'invites' ? name.length <= 254 : isName(name)) return name;
  throw new TriggerFsError('TFS_BAD_NAME', `${JSON.stringify(name)} is no name: letters, digits, dot, dash and underscore, at most 63`);
}

function checkItem(list: ListName, item: string): string {
  if (list === 'plugins' ? isPluginName(item) : isName(item)) return item;
  throw new TriggerFsError('TFS_BAD_NAME', `${JSON.stringify(item)} is no name of a ${list.replace(/s$/, '')}`);
}

function checkArgument(key: string): string {
  if (isArgumentName(key)) return key;
  throw new TriggerFsError('TFS_BAD_ARGUMENT', `${JSON.stringify(key)} is no name of an argument`);
}
