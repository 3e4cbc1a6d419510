import type { Keyboard } from './keyboard.ts';
import { readKey } from './question.ts';

const MORE = '---(more)---';
const WIPE = `\r${' '.repeat(MORE.length)}\r`;

/** What the pager needs of a terminal. */
export interface PagerTerminal {
  readonly rows: number;
  readonly columns: number;
  write(text: string): void;
}

/** Shows lines and stops after each screen: space shows the next one, Enter one line more, `G` the rest, `q` or Ctrl-C ends. */
export async function page(lines: readonly string[], keyboard: Keyboard, terminal: PagerTerminal): Promise<void> {
  let at = 0;
  let room = pageRows(terminal);
  while (at < lines.length) {
    const from = at;
    for (let used = 0; at < lines.length; at += 1) {
      used += heightOf(lines[at] as string, terminal.columns);
      if (used > room && at > from) break;
    }
    terminal.write(`${lines.slice(from, at).join('\n')}\n`);
    if (at >= lines.length) return;
    terminal.write(MORE);
    const key = await readKey(keyboard);
    terminal.write(WIPE);
    if (key === 'q' || key === 'Q' || key === '\x03' || key === '\x04') return;
    if (key === 'G') room = Number.POSITIVE_INFINITY;
    else room = key === '\r' || key === '\n' ? 1 : pageRows(terminal);
  }
}

/** Whether lines need more than one screen. */
export function isLong(lines: readonly string[], terminal: Pick<PagerTerminal, 'rows' | 'columns'>): boolean {
  let used = 0;
  for (const line of lines) {
    used += heightOf(line, terminal.columns);
    if (used >= terminal.rows) return true;
  }
  return false;
}

/** The window may have another size at each screen. */
function pageRows({ rows }: PagerTerminal): number {
  return Math.max(1, rows - 1);
}

function heightOf(line: string, columns: number): number {
  return Math.max(1, Math.ceil(line.length / Math.max(1, columns)));
}
