import { formatDuration } from '../../../protocol/quantity.ts';
import type { Answer } from './answer.ts';
import type { Pipeline } from './pipes.ts';
import { layOut } from './table-lines.ts';

/** A line of an answer, and the JSON item it stands for. */
interface Entry {
  readonly line: string;
  readonly item: unknown;
}

/** Lines of an answer as the pipes want them. `elapsedMs` is shown below tables. */
export function render(answer: Answer, pipeline: Pipeline, elapsedMs: number): string[] {
  const { heading, entries } = entriesOf(answer);
  const filters = pipeline.filters();
  let kept = entries.filter(({ line }) => filters.every((filter) => filter.keep(line)));
  if (pipeline.last !== null) kept = kept.slice(-pipeline.last);
  const whole = filters.length === 0 && pipeline.last === null;
  if (pipeline.count) return [pipeline.json ? JSON.stringify({ count: kept.length }) : `Count: ${kept.length} lines`];
  if (pipeline.json) return asJson(answer, kept, whole);
  const lines = kept.map(({ line }) => line);
  if (answer.kind === 'text' || !whole) return lines;
  return [...heading, ...lines, ...answer.notes, `(${lines.length} rows)`, `Time: ${formatDuration(elapsedMs)}`];
}

function entriesOf(answer: Answer): { heading: readonly string[]; entries: Entry[] } {
  if (answer.kind === 'text') return { heading: [], entries: answer.lines.map((line) => ({ line, item: line })) };
  const { heading, rows } = layOut(answer.titles, answer.rows);
  return { heading, entries: rows.map((line, at) => ({ line, item: answer.items[at] })) };
}

/** A table is an array of its items; a text is its value, or the array of the lines that the pipes left. */
function asJson(answer: Answer, kept: readonly Entry[], whole: boolean): string[] {
  const value = answer.kind === 'text' && whole ? answer.value : kept.map(({ item }) => item);
  return JSON.stringify(value, null, 2).split('\n');
}
