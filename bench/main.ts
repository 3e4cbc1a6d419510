import { formatHelp } from '../runtime/arguments.ts';
import { exitWith } from '../runtime/exit.ts';
import type { BenchContext } from './benches/bench.ts';
import { BENCHES } from './benches/index.ts';
import { describeMachine } from './report/machine.ts';
import { progressLine } from './report/progress.ts';
import { type FinishedBench, formatReport, reportObject } from './report/report.ts';
import { OPTIONS, readSettings, type Settings } from './settings.ts';
import { Platform } from './stage/platform.ts';
import { Stage } from './stage/stage.ts';

const EXIT_INTERRUPTED = 130;

/** `npm run bench`: measures side by side and prints the table. Exits with 1 when a benchmark could not be run. */
export async function main(argv: readonly string[]): Promise<void> {
  let settings: Settings;
  try {
    settings = readSettings(
      argv,
      BENCHES.map(({ name }) => name),
    );
  } catch (error) {
    exitWith('bench', error);
  }
  if (settings.help) {
    const list = BENCHES.map(({ name, doc }) => `  ${name.padEnd(12)}${doc}\n`).join('');
    process.stdout.write(`${formatHelp('npm run bench -- [options]: measures triggerFS beside its peers', OPTIONS)}\nBenchmarks:\n${list}`);
    return;
  }
  if (!(await runAll(settings))) process.exitCode ??= 1;
}

/** Runs the chosen benchmarks; false when one of them failed. */
async function runAll(settings: Settings): Promise<boolean> {
  const progress = progressLine();
  const stage = await Stage.open(settings, progress);
  const interrupted = (): void => {
    progress('stopping');
    process.exitCode = EXIT_INTERRUPTED;
    void stage.close().then(() => process.exit());
  };
  process.on('SIGINT', interrupted).on('SIGTERM', interrupted);
  try {
    const finished = await measureAll(stage, settings);
    if (stage.closing) return false;
    progress('');
    const machine = describeMachine();
    process.stdout.write(settings.json ? `${JSON.stringify(reportObject(machine, finished))}\n` : formatReport(machine, finished));
    return finished.every(({ error }) => error === null);
  } finally {
    await stage.close();
    process.off('SIGINT', interrupted).off('SIGTERM', interrupted);
  }
}

async function measureAll(stage: Stage, settings: Settings): Promise<FinishedBench[]> {
  let platform: Promise<Platform> | null = null;
  const context: BenchContext = {
    stage,
    platform: () => {
      platform ??= Platform.start(stage);
      return platform;
    },
  };
  const finished: FinishedBench[] = [];
  for (const bench of BENCHES) {
    if (stage.closing) break;
    if (settings.only !== null && !settings.only.includes(bench.name)) continue;
    try {
      finished.push({ name: bench.name, report: await bench.run(context), error: null });
    } catch (error) {
      finished.push({ name: bench.name, report: null, error: error instanceof Error ? error.message : String(error) });
    }
  }
  return finished;
}
