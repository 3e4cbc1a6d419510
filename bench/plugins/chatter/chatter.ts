import { setTimeout as sleep } from 'node:timers/promises';
import { serve } from '../../../plugins/sdk/index.ts';

const TURN_MS = 10;

serve(async (message, reply) => {
  const { perSecond, bytes, ms } = JSON.parse(message.text()) as { perSecond: number; bytes: number; ms: number };
  const line = Buffer.alloc(bytes, 'All work and no play makes a dull log. ');
  const started = performance.now();
  let sent = 0;
  for (let passed = 0; passed < ms; passed = performance.now() - started) {
    // A late turn makes up for what it missed, so that the rate is kept on average.
    for (const due = Math.floor((passed / 1000) * perSecond); sent < due; sent += 1) await reply(line);
    await sleep(TURN_MS);
  }
});
