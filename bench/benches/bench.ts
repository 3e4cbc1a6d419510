import type { BenchReport } from '../report/comparison.ts';
import type { Platform } from '../stage/platform.ts';
import type { Stage } from '../stage/stage.ts';

/** What a benchmark works with. */
export interface BenchContext {
  readonly stage: Stage;
  /** Starts database and control-plane on first use; all benchmarks share them. */
  readonly platform: () => Promise<Platform>;
}

/** One benchmark. */
export interface Bench {
  readonly name: string;
  readonly doc: string;
  run(context: BenchContext): Promise<BenchReport>;
}
