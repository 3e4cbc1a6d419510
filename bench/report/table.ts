import type { Comparison, Promised, Unit } from './comparison.ts';
import type { Figure } from './statistics.ts';

const HEADS = ['what', 'ours', 'peer or baseline', 'ratio', 'promise', 'held?'] as const;
const GAP = '  ';

type Row = readonly [what: string, ours: string, peer: string, ratio: string, promise: string, held: string];

/** The comparisons as an aligned table; texts to the left, figures to the right. */
export function formatTable(comparisons: readonly Comparison[]): string {
  const rows = comparisons.map(rowOf);
  const widths = HEADS.map((head, column) => Math.max(head.length, ...rows.map((row) => (row[column] as string).length)));
  const rule = widths.map((width) => '─'.repeat(width)).join(GAP);
  return `${[line(HEADS, widths), rule, ...rows.map((row) => line(row, widths))].join('\n')}\n`;
}

/** `132,000/s ±4%`: the median and how far the rounds lay apart. */
export function formatFigure(figure: Figure, unit: Unit): string {
  const noise = figure.rounds.length > 1 ? ` ±${Math.round(figure.spread * 100)}%` : '';
  return `${formatValue(figure.median, unit)}${noise}`;
}

/** A value in its unit with three to four significant digits. */
export function formatValue(value: number, unit: Unit): string {
  switch (unit) {
    case 'per second':
      return `${round(value)}/s`;
    case 'microseconds':
      return value >= 10_000 ? `${round(value / 1000)} ms` : `${round(value)} µs`;
    case 'milliseconds':
      return `${round(value)} ms`;
    case 'mebibytes':
      return `${round(value)} MiB`;
    case 'percent':
      return `${round(value)} %`;
    case 'count':
      return round(value);
  }
}

function rowOf(comparison: Comparison): Row {
  const { what, unit, ours, peer, theirs, ratio, promised, held } = comparison;
  return [
    what,
    formatFigure(ours, unit),
    theirs === null ? '–' : `${peer} ${formatFigure(theirs, unit)}`,
    ratio === null ? '–' : `${ratio.toFixed(2)}×`,
    promised === null ? '–' : formatPromise(promised, unit),
    held === null ? '–' : held ? 'yes' : 'NO',
  ];
}

function formatPromise({ direction, limit, of }: Promised, unit: Unit): string {
  const sign = direction === 'at least' ? '≥' : '≤';
  return `${sign} ${of === 'ratio' ? `${limit}×` : formatValue(limit, unit)}`;
}

function line(cells: readonly string[], widths: readonly number[]): string {
  const right = (column: number): boolean => column === 1 || column === 3;
  return cells
    .map((cell, column) => (right(column) ? cell.padStart(widths[column] as number) : cell.padEnd(widths[column] as number)))
    .join(GAP)
    .trimEnd();
}

function round(value: number): string {
  const digits = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2;
  const rounded = Math.abs(value) >= 10_000 ? Math.round(value / 100) * 100 : value;
  return rounded.toLocaleString('en', { minimumFractionDigits: 0, maximumFractionDigits: digits });
}
