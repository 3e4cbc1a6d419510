import { TriggerFsError } from '../errors.ts';

/** A word of a command line. */
export interface Token {
  readonly text: string;
  /** Quoted words are never keywords: `"name"` is a thing called name. */
  readonly quoted: boolean;
  /** Where it is in the line: first character, and the one behind its last. */
  readonly start: number;
  readonly end: number;
}

const ESCAPES: Readonly<Record<string, string>> = { n: '\n', t: '\t', r: '\r', '"': '"', '\\': '\\' };
const BARE = /^[A-Za-z0-9_./:@%+=,~-]+$/;
const WRITTEN: Readonly<Record<string, string>> = { '\n': '\\n', '\t': '\\t', '\r': '\\r', '"': '\\"', '\\': '\\\\' };
/** What would end the quote, or could change a terminal, the direction of writing or the end of a line when it is printed. */
const ESCAPED = /[\\"\p{Cc}\u2028-\u202e\u2066-\u2069]/gu;

/**
 * Splits a command line into words. `"..."` knows \n \t \r \" \\ and \u with four hex digits, and keeps other backslashes;
 * `'...'` is literal; elsewhere a backslash quotes the next character. An unquoted `|` is a word by itself.
 * @param partial for completion: takes an open quote as closed by the end of the line
 * @throws TriggerFsError TFS_USAGE for an open quote
 */
export function tokenize(line: string, { partial = false }: { partial?: boolean } = {}): Token[] {
  const tokens: Token[] = [];
  for (let at = skipBlanks(line, 0); at < line.length; at = skipBlanks(line, at)) {
    const token = line[at] === '|' ? { text: '|', quoted: false, start: at, end: at + 1 } : readWord(line, at, partial);
    tokens.push(token);
    at = token.end;
  }
  return tokens;
}

/** Whether a token is an unquoted `|`. */
export function isPipe(token: Token): boolean {
  return token.text === '|' && !token.quoted;
}

/** Writes a text so that `tokenize` reads it back as one word. */
export function quote(text: string): string {
  if (BARE.test(text)) return text;
  return `"${text.replaceAll(ESCAPED, (character) => WRITTEN[character] ?? unicodeEscape(character))}"`;
}

function unicodeEscape(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
}

function skipBlanks(line: string, from: number): number {
  let at = from;
  while (at < line.length && /\s/.test(line[at] as string)) at += 1;
  return at;
}

function readWord(line: string, start: number, partial: boolean): Token {
  let text = '';
  let quoted = false;
  let at = start;
  while (at < line.length && !/[\s|]/.test(line[at] as string)) {
    const character = line[at] as string;
    if (character === '"' || character === "'") {
      const part = character === '"' ? readDouble(line, at + 1) : readSingle(line, at + 1);
      if (part.end === null && !partial) throw new TriggerFsError('TFS_USAGE', `the quote at character ${at + 1} is not closed`);
      text += part.text;
      quoted = true;
      at = part.end ?? line.length;
    } else if (character === '\\' && at + 1 < line.length) {
      text += line[at + 1];
      quoted = true;
      at += 2;
    } else {
      text += character;
      at += 1;
    }
  }
  return { text, quoted, start, end: at };
}

/** The text up to the closing quote and the place behind it; null when there is none. */
function readSingle(line: string, from: number): { text: string; end: number | null } {
  const close = line.indexOf("'", from);
  return close < 0 ? { text: line.slice(from), end: null } : { text: line.slice(from, close), end: close + 1 };
}

function readDouble(line: string, from: number): { text: string; end: number | null } {
  let text = '';
  for (let at = from; at < line.length; at += 1) {
    const character = line[at] as string;
    if (character === '"') return { text, end: at + 1 };
    if (character !== '\\') {
      text += character;
      continue;
    }
    const next = line[at + 1] ?? '';
    const code = /^u([0-9a-fA-F]{4})/.exec(line.slice(at + 1, at + 6))?.[1];
    if (code !== undefined) text += String.fromCharCode(Number.parseInt(code, 16));
    else text += ESCAPES[next] ?? `\\${next}`;
    at += code === undefined ? 1 : 5;
  }
  return { text, end: null };
}
