import type { BenchReport } from './comparison.ts';
import type { Machine } from './machine.ts';
import { formatTable } from './table.ts';

/** A benchmark that ran or failed. */
export interface FinishedBench {
  readonly name: string;
  readonly report: BenchReport | null;
  readonly error: string | null;
}

/** The whole run as text: the table, then what was skipped, what failed and what else was seen. */
export function formatReport(machine: Machine, finished: readonly FinishedBench[]): string {
  const reports = finished.flatMap(({ report }) => (report === null ? [] : [report]));
  const skipped = reports.flatMap((report) => report.skipped.map(({ what, reason }) => `${what}: ${reason}`));
  const failed = finished.flatMap(({ name, error }) => (error === null ? [] : [`${name}: ${error}`]));
  return [
    formatTable(reports.flatMap((report) => report.comparisons)),
    section('Skipped', skipped),
    section('Failed', failed),
    section(
      'Notes',
      reports.flatMap((report) => report.notes),
    ),
    `\n${machine.cores} × ${machine.cpu}, ${machine.memoryGiB} GiB, ${machine.system}, Node ${machine.node}, load ${machine.load}.\n`,
    'Ratios are medians over interleaved rounds of this run; ± is half the range of the rounds, the noise of the machine.\n',
  ].join('');
}

/** The whole run as one JSON object. */
export function reportObject(machine: Machine, finished: readonly FinishedBench[]): Readonly<Record<string, unknown>> {
  return {
    machine,
    benches: finished.map(({ name, report, error }) => ({ name, error, ...report })),
  };
}

function section(title: string, lines: readonly string[]): string {
  return lines.length === 0 ? '' : `\n${title}\n${lines.map((line) => `  ${line}\n`).join('')}`;
}
