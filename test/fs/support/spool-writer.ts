import { openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { Message } from '../../../fs/spool/message.ts';
import { Spool } from '../../../fs/spool/spool.ts';
import { silentLogger } from '../../../runtime/logging.ts';

// A process that is killed while it uses a spool. `flood`: accepts numbers and notes each one in a file after it was accepted.
// `crash N messages...`: accepts the messages, answers the first N, and kills itself at the end of the turn after.
const [folder, mode, ...rest] = process.argv.slice(2) as [string, string, ...string[]];
const spool = Spool.open({ folder, limitBytes: 1e9, log: silentLogger(), onAccepted: () => undefined });

if (mode === 'flood') {
  const confirmed = openSync(join(folder, 'confirmed'), 'w');
  let number = 0;
  const turn = (): void => {
    for (let i = 0; i < 100; i += 1) {
      spool.message(1, Buffer.from(String(number)), 0);
      spool.commit(false);
      writeSync(confirmed, `${number}\n`);
      number += 1;
    }
    setImmediate(turn);
  };
  turn();
} else {
  const [answered, ...messages] = rest;
  for (const message of messages) {
    spool.message(1, Buffer.from(message), 0);
    spool.commit(false);
  }
  for (let i = 0; i < Number(answered); i += 1) spool.done(spool.next(1) as Message);
  setImmediate(() => setImmediate(() => process.kill(process.pid, 'SIGKILL')));
}
