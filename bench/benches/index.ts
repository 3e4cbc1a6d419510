import type { Bench } from './bench.ts';
import { echo } from './echo.ts';
import { exec } from './exec.ts';
import { failOver } from './fail-over.ts';
import { fuse } from './fuse.ts';
import { idle } from './idle.ts';
import { nginx } from './nginx.ts';

/** All benchmarks, in the order in which they run. */
export const BENCHES: readonly Bench[] = [echo, exec, fuse, nginx, failOver, idle];
