import type { Bench } from './bench.ts';
import { echo } from './echo.ts';

/** All benchmarks, in the order in which they run. */
export const BENCHES: readonly Bench[] = [echo];
