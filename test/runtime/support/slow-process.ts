import { setTimeout as sleep } from 'node:timers/promises';
import { runUntilSignal } from '../../../runtime/lifecycle.ts';
import { silentLogger } from '../../../runtime/logging.ts';

// A process that needs the given milliseconds for its start and its end, and has work as long as it is not stopped.
const [startMs, stopMs] = process.argv.slice(2).map(Number);
process.stdout.write('starting\n');
await sleep(startMs);
const work = setInterval(() => undefined, 1000);
const stop = async (): Promise<void> => {
  process.stdout.write('stopping\n');
  await sleep(stopMs);
  clearInterval(work);
};
process.on('message', () => {
  process.stdout.write('to nobody\n', () => process.send?.('printed'));
});
runUntilSignal({ log: silentLogger(), stop, limitMs: 65_000, withParent: true });
process.stdout.write('started\n');
