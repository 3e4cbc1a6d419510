import { writeSync } from 'node:fs';
import { workerData } from 'node:worker_threads';

const CHECK_MS = 1_000;
/** Checks without a beat before the process is ended. Counted in own checks, so that a stopped machine is no hang. */
const LIMIT = 15;

const beats = new Int32Array(workerData as SharedArrayBuffer);
let last = -1;
let missed = 0;

setInterval(() => {
  const now = Atomics.load(beats, 0);
  missed = now === last ? missed + 1 : 0;
  last = now;
  if (missed < LIMIT) return;
  writeSync(2, `triggerfs: the event loop has been hanging for ${LIMIT} s; ending the process so that nobody waits for its mount\n`);
  process.kill(process.pid, 'SIGKILL');
}, CHECK_MS);
