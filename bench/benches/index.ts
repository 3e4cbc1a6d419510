import type { Bench } from './bench.ts';
import { durable } from './durable.ts';
import { echo } from './echo.ts';
import { exec } from './exec.ts';
import { failOver } from './fail-over.ts';
import { fuse } from './fuse.ts';
import { history } from './history.ts';
import { idle } from './idle.ts';
import { nginx } from './nginx.ts';
import { schedules } from './schedules.ts';
import { storm } from './storm.ts';

/** All benchmarks, in the order in which they run. */
export const BENCHES: readonly Bench[] = [echo, exec, fuse, nginx, durable, failOver, idle, history, schedules, storm];
