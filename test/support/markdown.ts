/** Rows of the Markdown table with this header; backticks stay. Throws when there is none. */
export function readTable(document: string, header: readonly string[]): string[][] {
  const lines = document.split('\n');
  const at = lines.findIndex((line) => line.startsWith('|') && cells(line).join('|') === header.join('|'));
  if (at < 0) throw new Error(`no table with the columns ${header.join(', ')}`);
  const rows: string[][] = [];
  for (const line of lines.slice(at + 2)) {
    if (!line.startsWith('|')) break;
    rows.push(cells(line));
  }
  return rows;
}

function cells(line: string): string[] {
  return line
    .replace(/^\|/, '')
    .replace(/\|\s*$/, '')
    .split(/(?<!\\)\|/)
    .map((cell) => cell.trim().replaceAll('\\|', '|'));
}
