import { writeSync } from 'node:fs';
import { workerData } from 'node:worker_threads';

const CHECK_MS = 1_000;

const { shared, limitSeconds } = workerData as { shared: SharedArrayBuffer; limitSeconds: number };
const beats = new Int32Array(shared);
let last = -1;
let missed = 0;

// Checks without a beat are counted, not time: a machine that was suspended or a process that was stopped is no hang.
setInterval(() => {
  const now = Atomics.load(beats, 0);
  missed = now === last ? missed + 1 : 0;
  last = now;
  if (missed < limitSeconds) return;
  writeSync(2, `triggerfs: the event loop hangs for ${limitSeconds} s; ending the process so that nobody waits for its mount\n`);
  process.kill(process.pid, 'SIGKILL');
}, CHECK_MS);
