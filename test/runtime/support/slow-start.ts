import { setTimeout as sleep } from 'node:timers/promises';
import { runUntilSignal } from '../../../runtime/lifecycle.ts';
import { silentLogger } from '../../../runtime/logging.ts';

// A process that needs a moment for its start, and has work as long as it is not stopped.
process.stdout.write('starting\n');
await sleep(Number(process.argv[2]));
const work = setInterval(() => undefined, 1000);
const stop = async (): Promise<void> => clearInterval(work);
runUntilSignal({ log: silentLogger(), stop, limitMs: 5_000, withParent: true });
process.stdout.write('started\n');
