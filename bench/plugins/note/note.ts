import { appendFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { serve } from '../../../plugins/sdk/index.ts';

serve(async (message) => {
  // One system call for each line, so that a plugin which is killed leaves no half of one.
  appendFileSync(message.args.path as string, `${message.text().trimEnd()}\n`);
  await sleep(message.args.ms as number);
});
