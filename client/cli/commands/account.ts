import type { Call, Command } from '../command.ts';
import { type Answer, text } from '../screen/answer.ts';

/** The end of the own account. */
export const ACCOUNT: readonly Command[] = [
  { pattern: 'request account delete', doc: 'Delete your account for good; asks for the password', modes: ['run'], run: deleteAccount },
];

async function deleteAccount(call: Call): Promise<Answer> {
  const secret = await call.screen.ask('Password, to delete your account for good: ', true);
  await call.connection.call({ method: 'DELETE', path: '/v1/account', body: { secret } });
  // Nothing can be done with a login that has ended.
  await call.shell.quit();
  return text(['Your account is deleted, and its sessions have ended. Take it out of triggerfs.toml too.'], {});
}
