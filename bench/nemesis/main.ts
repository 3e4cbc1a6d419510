import { formatHelp } from '../../runtime/arguments.ts';
import { exitWith } from '../../runtime/exit.ts';
import { isClean } from './ledger.ts';
import { type NemesisReport, runNemesis } from './nemesis.ts';
import { OPTIONS, readSettings } from './settings.ts';

/** Runs the program; exits with 1 when something was lost, doubled in silence or left open. */
export async function main(argv: readonly string[]): Promise<void> {
  try {
    const { help, json, ...settings } = readSettings(argv);
    if (help)
      return void process.stdout.write(
        formatHelp('node bench/nemesis/bin.ts [OPTIONS]: kills processes while invocations are accepted', OPTIONS),
      );
    const progress = (text: string): void => void (process.stderr.isTTY && process.stderr.write(`\r\x1b[K${text}`));
    const report = await runNemesis(settings, progress);
    progress('');
    process.stdout.write(json ? `${JSON.stringify(report)}\n` : formatReport(report));
    if (!isClean(report)) process.exitCode = 1;
  } catch (error) {
    exitWith('nemesis', error);
  }
}

function formatReport(report: NemesisReport): string {
  const { kills, accepted, written, executed, stories, duplicates, drainedS, seed } = report;
  const killed = Object.entries(kills).map(([kind, count]) => `${count} ${kind}`);
  const found = (['lost', 'foreign', 'unfinished', 'hidden', 'excessive'] as const).map((name) => {
    const some = report[name].slice(0, 10).join(' ');
    return `${name.padEnd(12)}${report[name].length}${some === '' ? '' : `: ${some}`}\n`;
  });
  return [
    `seed        ${seed}\n`,
    `killed      ${killed.join(', ')}\n`,
    `accepted    ${accepted}, ${written} of them by trigger files\n`,
    `executed    ${executed}, ${duplicates} of them again, each visible as an attempt unless it is hidden\n`,
    ...found,
    `drained     ${drainedS} s after the last kill\n`,
    ...stories.map((story) => `${story}\n`),
  ].join('');
}
