import { harmless } from '../../program/terminal-text.ts';

/** A table as lines: two of heading, then one for each row. */
export interface TableLines {
  readonly heading: readonly string[];
  readonly rows: readonly string[];
}

/** Lays out a table in the documented shape. Texts of other people cannot move the cursor: control characters are shown. */
export function layOut(titles: readonly string[], rows: readonly (readonly string[])[]): TableLines {
  const safe = rows.map((row) => row.map((cell) => harmless(cell)));
  const widths = titles.map((title) => title.length);
  for (const row of safe) for (const [at, cell] of row.entries()) widths[at] = Math.max(widths[at] ?? 0, cell.length);
  const numeric = titles.map((_, at) => safe.length > 0 && safe.every((row) => /^\d+$/.test(row[at] ?? '')));
  const line = (cells: readonly string[]): string => {
    const padded = cells.map((cell, at) => (numeric[at] ? cell.padStart(widths[at] ?? 0) : cell.padEnd(widths[at] ?? 0)));
    return ` ${padded.join(' | ')}`.trimEnd();
  };
  const rule = widths.map((width) => '-'.repeat(width + 2)).join('+');
  return { heading: [line(titles), rule], rows: safe.map(line) };
}
