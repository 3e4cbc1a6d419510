// Outside of this repository, import from 'triggerfs/sdk': the worker resolves it.
import { onKill, serve } from '../sdk/index.ts';

serve(async (message, reply) => {
  const name = message.text().trim();
  if (name === '') {
    await reply.error('whom shall I greet?\n');
    return 2;
  }
  await reply('one moment\n');
  return `${message.args.greeting}, ${name}!\n`;
});

onKill(() => {
  // Close files and connections here.
});
