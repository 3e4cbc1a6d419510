import { TriggerFsError } from '../../../protocol/errors.ts';
import type { Word } from './line.ts';
import { parsePattern, type Slot, slotText } from './pattern.ts';

/** What the tree must know of a command. */
export interface Syntax {
  /** See `parsePattern`. */
  readonly pattern: string;
  readonly doc: string;
  /** Named settings after the pattern, in any order. */
  readonly options?: Readonly<Record<string, OptionSyntax>>;
}

/** A named setting of a command. */
export interface OptionSyntax {
  /** What its value is, such as `duration` or `service`: offered by completion where it is the kind of an object. */
  readonly value: string;
  /** All values, where there are few. */
  readonly choices?: readonly string[];
  readonly doc: string;
}

/** A word of a resolved command. */
export interface Part {
  readonly text: string;
  /** A word of the command itself, not a value. */
  readonly keyword: boolean;
}

/** A command with the values that were given. */
export interface Resolved<C> {
  readonly command: C;
  readonly values: Readonly<Record<string, string>>;
  /** Values of the named settings, in the order given. */
  readonly options: Readonly<Record<string, readonly string[]>>;
  /** The whole command with its words written out. */
  readonly parts: readonly Part[];
}

/** What may come next. */
export interface Possibility {
  /** A word, or what the value is in angle brackets. */
  readonly text: string;
  readonly doc: string;
  /** Kind of the value, for live names; null for a word. */
  readonly value: string | null;
}

interface Node<C> {
  readonly branches: { readonly slot: Slot; readonly node: Node<C> }[];
  command: C | null;
}

interface Walk<C> {
  readonly node: Node<C>;
  readonly values: Record<string, string>;
  readonly parts: Part[];
  /** Words that are left for the named settings. */
  readonly rest: readonly Word[];
}

/** All commands as a tree of words: resolves lines (also abbreviated ones), and says what may come next. */
export class CommandTree<C extends Syntax> {
  readonly #root: Node<C> = { branches: [], command: null };
  readonly #topics: Readonly<Record<string, string>>;

  /** `topics`: a line of help for words that begin several commands. */
  constructor(commands: readonly C[], topics: Readonly<Record<string, string>>) {
    this.#topics = topics;
    for (const command of commands) this.#insert(command);
  }

  /** Finds the command of a line. @throws TriggerFsError TFS_USAGE that says what was expected */
  resolve(words: readonly Word[]): Resolved<C> {
    const walk = this.#walk(words);
    const { command } = walk.node;
    if (command === null) {
      throw new TriggerFsError('TFS_USAGE', `incomplete command: ${written(walk.parts)} needs ${expected(this.#branchesOf(walk.node))}`);
    }
    const pairs = readOptions(command, walk.rest);
    const options: Record<string, string[]> = {};
    for (const [name, value] of pairs) options[name] = [...(options[name] ?? []), value];
    const added = pairs.flatMap(([name, value]): Part[] => [
      { text: name, keyword: true },
      { text: value, keyword: false },
    ]);
    return { command, values: walk.values, options, parts: [...walk.parts, ...added] };
  }

  /** What may follow the words; empty where they are no command. */
  next(words: readonly Word[]): Possibility[] {
    let walk: Walk<C>;
    try {
      walk = this.#walk(words);
    } catch {
      return [];
    }
    if (walk.rest.length === 0) return [...this.#branchesOf(walk.node), ...optionsOf(walk.node.command)];
    if (walk.rest.length % 2 === 0) return optionsOf(walk.node.command);
    return valuesOf(walk.node.command, walk.rest.at(-1)?.text ?? '');
  }

  /** Whether the words are a whole command. */
  isComplete(words: readonly Word[]): boolean {
    try {
      this.resolve(words);
      return true;
    } catch {
      return false;
    }
  }

  #insert(command: C): void {
    let node = this.#root;
    for (const slot of parsePattern(command.pattern)) {
      const text = slotText(slot);
      let branch = node.branches.find((candidate) => slotText(candidate.slot) === text);
      if (branch === undefined) {
        branch = { slot, node: { branches: [], command: null } };
        node.branches.push(branch);
      }
      node = branch.node;
    }
    if (node.command !== null) throw new Error(`two commands are called ${command.pattern}`);
    node.command = command;
  }

  #walk(words: readonly Word[]): Walk<C> {
    let node = this.#root;
    const values: Record<string, string> = {};
    const parts: Part[] = [];
    for (const [index, word] of words.entries()) {
      const found = choose(node, word);
      if (found === 'option') return { node, values, parts, rest: words.slice(index) };
      if (found === 'none') throw new TriggerFsError('TFS_USAGE', this.#unexpected(node, word, parts));
      if (Array.isArray(found)) throw new TriggerFsError('TFS_USAGE', `${word.text} may mean ${listed(found)}`);
      const { slot, text } = found;
      if (slot.kind !== 'word') values[slot.name] = text;
      parts.push({ text, keyword: slot.kind !== 'value' });
      node = found.node;
    }
    return { node, values, parts, rest: [] };
  }

  #unexpected(node: Node<C>, word: Word, parts: readonly Part[]): string {
    const possible = [...this.#branchesOf(node), ...optionsOf(node.command)];
    if (parts.length === 0) return `unknown command ${word.text}; see help`;
    const where = `unexpected word ${word.text} after ${written(parts)}`;
    return possible.length === 0 ? where : `${where}; expected ${expected(possible)}`;
  }

  #branchesOf(node: Node<C>): Possibility[] {
    return node.branches.flatMap(({ slot, node: child }): Possibility[] => {
      const doc = child.command?.doc ?? onlyDoc(child);
      if (slot.kind === 'value') return [{ text: `<${slot.name}>`, doc, value: slot.name }];
      if (slot.kind === 'choice') return slot.words.map((text) => ({ text, doc, value: null }));
      const [text = ''] = slot.words;
      const topic = node === this.#root ? this.#topics[text] : undefined;
      return [{ text, doc: topic ?? doc, value: null }];
    });
  }
}

/** Help of the one command behind a word; empty where there are several. */
function onlyDoc<C extends Syntax>(node: Node<C>): string {
  const [branch, ...others] = node.branches;
  if (branch === undefined || others.length > 0) return '';
  return branch.node.command?.doc ?? onlyDoc(branch.node);
}

type Found<C> = { readonly slot: Slot; readonly node: Node<C>; readonly text: string };

/**
 * What a word means here: first the exact word, then an abbreviation (only where no free value could be meant), then a value.
 * Several meanings come as a list.
 */
function choose<C extends Syntax>(node: Node<C>, word: Word): Found<C> | string[] | 'option' | 'none' {
  const value = node.branches.find(({ slot }) => slot.kind === 'value');
  const asValue: Found<C> | 'none' = value === undefined ? 'none' : { ...value, text: word.text };
  if (word.quoted) return asValue;
  const wanted = word.text.toLowerCase();
  const options = Object.keys(node.command?.options ?? {});
  if (options.includes(wanted)) return 'option';
  const begun: Found<C>[] = [];
  for (const { slot, node: child } of node.branches) {
    if (slot.kind === 'value') continue;
    // The first of several words for one thing is its name; of a choice, each word stands for itself.
    const named = (text: string): string => (slot.kind === 'word' ? (slot.words[0] as string) : text);
    const exact = slot.words.find((candidate) => candidate === wanted);
    if (exact !== undefined) return { slot, node: child, text: named(exact) };
    const names = new Set(slot.words.filter((candidate) => candidate.startsWith(wanted)).map(named));
    for (const text of names) begun.push({ slot, node: child, text });
  }
  const begunOptions = options.filter((name) => name.startsWith(wanted));
  if (value !== undefined || begun.length + begunOptions.length === 0) return asValue;
  if (begun.length + begunOptions.length > 1) return [...begun.map(({ text }) => text), ...begunOptions];
  return begun[0] ?? 'option';
}

function optionsOf(command: Syntax | null): Possibility[] {
  return Object.entries(command?.options ?? {}).map(([text, { doc }]) => ({ text, doc, value: null }));
}

/** What may be the value of an option. */
function valuesOf(command: Syntax | null, given: string): Possibility[] {
  const names = Object.keys(command?.options ?? {}).filter((name) => name.startsWith(given));
  const option = command?.options?.[names.includes(given) ? given : (names[0] ?? '')];
  if (option === undefined) return [];
  if (option.choices !== undefined) return option.choices.map((text) => ({ text, doc: '', value: null }));
  return [{ text: `<${option.value}>`, doc: option.doc, value: option.value }];
}

function readOptions(command: Syntax, rest: readonly Word[]): [name: string, value: string][] {
  const pairs: [string, string][] = [];
  const names = Object.keys(command.options ?? {});
  for (let at = 0; at < rest.length; at += 2) {
    const name = abbreviated((rest[at] as Word).text, names);
    const option = command.options?.[name] as OptionSyntax;
    const value = rest[at + 1];
    if (value === undefined) throw new TriggerFsError('TFS_USAGE', `incomplete command: ${name} needs <${option.value}>`);
    pairs.push([name, option.choices === undefined || value.quoted ? value.text : abbreviated(value.text, option.choices)]);
  }
  return pairs;
}

/** @throws TriggerFsError TFS_USAGE unless the text is one of the words, or begins exactly one */
function abbreviated(text: string, words: readonly string[]): string {
  const begun = words.filter((word) => word.startsWith(text.toLowerCase()));
  if (words.includes(text.toLowerCase())) return text.toLowerCase();
  if (begun.length === 1) return begun[0] as string;
  throw new TriggerFsError(
    'TFS_USAGE',
    begun.length > 1 ? `${text} may mean ${listed(begun)}` : `unexpected word ${text}; expected ${listed(words)}`,
  );
}

function written(parts: readonly Part[]): string {
  return parts.map(({ text }) => text).join(' ');
}

function expected(possible: readonly Possibility[]): string {
  return listed(possible.map(({ text }) => text));
}

function listed(texts: readonly string[]): string {
  return texts.length < 2 ? texts.join('') : `${texts.slice(0, -1).join(', ')} or ${texts.at(-1)}`;
}
