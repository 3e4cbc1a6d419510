import { join } from 'node:path';
import { type BenchReport, compare } from '../report/comparison.ts';
import { interleave } from '../report/rounds.ts';
import { median } from '../report/statistics.ts';
import { isLine, LINE_BYTES, type WriterResult } from '../roles/file-writer.ts';
import { RoleProcess } from '../stage/role.ts';
import { until } from '../stage/wait.ts';
import type { Bench, BenchContext } from './bench.ts';
import { checkLines, fileBytes } from './delivered.ts';
import { cannotMount, mountNoop, mountTriggers } from './mount.ts';

const TRIGGER = 'lines';
const BASELINE = 'no-op handler';
const DELIVERY_MS = 120_000;

/** Writes of 128 bytes through one descriptor of another process: to a trigger file, and to a handler that does nothing. */
export const fuse: Bench = {
  name: 'fuse',
  doc: 'writes to a trigger file against a no-op fuse-native handler',
  async run(context: BenchContext): Promise<BenchReport> {
    const reason = cannotMount();
    if (reason !== null) return { comparisons: [], skipped: [{ what: 'fuse', reason }], notes: [] };
    const { stage } = context;
    const { seconds, rounds } = stage.settings;
    const mount = await mountTriggers(context, 'fuse', [TRIGGER]);
    const ours = await RoleProcess.start(stage, 'file-writer', { path: mount.trigger(TRIGGER) }, 'trigger-writer');
    const noop = join(await mountNoop(stage, 'fuse', [TRIGGER]), TRIGGER);
    const baseline = await RoleProcess.start(stage, 'file-writer', { path: noop }, 'noop-writer');
    const target = mount.target(TRIGGER);
    const deliveryMs: number[] = [];
    let written = 0;
    const measureOurs = async (): Promise<number> => {
      const { perSecond, lines } = (await ours.call(seconds * 1000)) as WriterResult;
      const doneAt = performance.now();
      written = lines;
      await until(`${lines} lines in ${target}`, () => fileBytes(target) >= lines * LINE_BYTES, DELIVERY_MS);
      deliveryMs.push(performance.now() - doneAt);
      return perSecond;
    };
    const measureBaseline = async (): Promise<number> => ((await baseline.call(seconds * 1000)) as WriterResult).perSecond;
    const measured = await interleave(
      [
        { name: 'trigger', measure: measureOurs },
        { name: BASELINE, measure: measureBaseline },
      ],
      rounds,
      (text) => stage.progress(`fuse: ${text}`),
    );
    await verify(target, written);
    const side = { name: BASELINE, rounds: measured.get(BASELINE) ?? [] };
    return {
      comparisons: [
        compare(`FUSE write ${LINE_BYTES} B`, 'per second', measured.get('trigger') ?? [], side, {
          direction: 'at least',
          limit: 0.9,
          of: 'ratio',
        }),
      ],
      skipped: [],
      notes: [
        `FUSE: all ${written} lines of ${LINE_BYTES} bytes arrived once and in order, the last ${Math.round(median(deliveryMs))} ms (median) after the last write of a round`,
      ],
    };
  },
};

async function verify(target: string, written: number): Promise<void> {
  const lines = await checkLines(target, (line, number) => {
    if (!isLine(line, number)) throw new Error(`line ${number} of ${target} is ${JSON.stringify(line.slice(0, 40))}`);
  });
  if (lines !== written) throw new Error(`${written} lines were written, ${lines} arrived`);
}
