import { isPipe, type Token, tokenize } from '../../../protocol/configuration/tokens.ts';

/** A word of a command line. */
export type Word = Pick<Token, 'text' | 'quoted'>;

/** A command line, taken apart. */
export interface Line {
  readonly words: readonly Word[];
  /** The words after each `|`. */
  readonly pipes: readonly (readonly Word[])[];
}

/** Splits a line into words and pipes; a comment (`#` in front) has none. @throws TriggerFsError TFS_USAGE for an open quote */
export function splitLine(line: string): Line {
  if (/^\s*#/.test(line)) return { words: [], pipes: [] };
  return divide(tokenize(line));
}

/** A line that is being typed: what is finished, and the word that the cursor stands in (empty after a blank). */
export interface Typed extends Line {
  readonly begun: { readonly text: string; readonly quoted: boolean };
}

/** Splits a line that ends at the cursor. */
export function splitTyped(line: string): Typed {
  const tokens = tokenize(line, { partial: true });
  const last = tokens.at(-1);
  const open = last !== undefined && last.end === line.length && !isPipe(last);
  const finished = open ? tokens.slice(0, -1) : tokens;
  return { ...divide(finished), begun: open ? last : { text: '', quoted: false } };
}

/** Whether the line ends inside of a quote. */
export function endsInQuote(line: string): boolean {
  try {
    tokenize(line);
    return false;
  } catch {
    return true;
  }
}

function divide(tokens: readonly Token[]): Line {
  const segments: Word[][] = [[]];
  for (const token of tokens) {
    if (isPipe(token)) segments.push([]);
    else segments.at(-1)?.push(token);
  }
  const [words = [], ...pipes] = segments;
  return { words, pipes };
}
