import { quote } from '../../protocol/configuration/tokens.ts';
import type { CommandTree, Possibility, Syntax } from './grammar/command-tree.ts';
import { splitTyped, type Word } from './grammar/line.ts';
import type { Names } from './names.ts';
import { PIPES } from './screen/pipes.ts';

/** Of the first column of help. */
const MAX_WIDTH = 46;

/** Words that the last one may become, and that last word. */
export type Completion = readonly [candidates: readonly string[], begun: string];

/** Completes the last word of a line: words of commands, and names of what exists. */
export async function complete(line: string, tree: CommandTree<Syntax>, names: Names): Promise<Completion> {
  const { words, pipes, begun } = splitTyped(line);
  if (begun.quoted) return [[], begun.text];
  if (pipes.length > 0) return fitting(pipes.at(-1)?.length === 0 ? Object.keys(PIPES) : [], begun.text);
  const candidates: string[] = [];
  for (const { text, value } of tree.next(withoutHelp(words))) {
    if (value === null) candidates.push(text);
    else candidates.push(...(await names.of(value)).map(quote));
  }
  return fitting(candidates, begun.text);
}

/** What may follow, as lines of help. */
export function possibilities(line: string, tree: CommandTree<Syntax>): string[] {
  const { words, pipes, begun } = splitTyped(line);
  if (pipes.length > 0) return helpLines(Object.entries(PIPES).map(([text, doc]) => ({ text, doc, value: null })));
  const next = tree.next(withoutHelp(words)).filter(({ text, value }) => value !== null || text.startsWith(begun.text));
  const end: Possibility[] =
    begun.text === '' && words.length > 0 && tree.isComplete(words) ? [{ text: '<Enter>', doc: 'Do it', value: '' }] : [];
  if (next.length + end.length === 0) return ['Nothing is possible here; see help'];
  return ['Possible completions:', ...helpLines([...end, ...next])];
}

/** Two aligned columns; what is too long for the first has its help below. */
export function helpLines(entries: readonly Pick<Possibility, 'text' | 'doc'>[]): string[] {
  const width = Math.max(...entries.map(({ text }) => (text.length > MAX_WIDTH ? 0 : text.length)));
  return entries.flatMap(({ text, doc }) => {
    if (text.length <= width) return [`  ${text.padEnd(width)}  ${doc}`.trimEnd()];
    return doc === '' ? [`  ${text}`] : [`  ${text}`, `  ${' '.repeat(width)}  ${doc}`];
  });
}

/** `help show` is completed as `show`. */
function withoutHelp(words: readonly Word[]): readonly Word[] {
  const [first, ...rest] = words;
  return first?.text === 'help' || first?.text === 'run' ? rest : words;
}

function fitting(candidates: readonly string[], begun: string): Completion {
  return [candidates.filter((candidate) => candidate.startsWith(begun)), begun];
}
