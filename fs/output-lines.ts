import { StringDecoder } from 'node:string_decoder';

/** A line without end is printed in pieces of this length. */
const LONGEST_LINE = 64 * 1024;

/** Cuts one stream of output into lines; characters cut by a chunk are joined again, invalid ones become U+FFFD. */
export class OutputLines {
  readonly #decoder = new StringDecoder('utf8');
  #rest = '';

  /** The lines that `data` completes. */
  push(data: Buffer): string[] {
    const lines = (this.#rest + this.#decoder.write(data)).split('\n');
    this.#rest = lines.pop() as string;
    if (this.#rest.length > LONGEST_LINE) {
      lines.push(this.#rest);
      this.#rest = '';
    }
    return lines;
  }

  /** What is left without a newline at the end; null when nothing is. */
  end(): string | null {
    const rest = this.#rest + this.#decoder.end();
    this.#rest = '';
    return rest === '' ? null : rest;
  }
}

/** Makes control characters visible, so that output cannot steer the terminal it is printed on; tabs stay. */
export function printable(line: string): string {
  // Cc: C0, DEL and C1.
  return line.replace(/\r$/, '').replace(/[\p{Cc}]/gu, (character) => {
    if (character === '\t') return character;
    return `\\x${(character.codePointAt(0) as number).toString(16).padStart(2, '0')}`;
  });
}
