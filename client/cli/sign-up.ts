import type { Static } from 'typebox';
import { TriggerFsError } from '../../protocol/errors.ts';
import type { SignupAnswer } from '../../protocol/http/signup.ts';
import { callApi } from '../../runtime/api.ts';
import type { ConsoleScreen } from './screen/console-screen.ts';

/** Who has signed up. */
export interface NewPerson {
  readonly identity: string;
  readonly secret: string;
}

/** Asks a person for what an account needs, makes it, and activates it with the code that was sent. */
export async function signUp(api: string, screen: ConsoleScreen): Promise<NewPerson> {
  const identity = await screen.ask('Identity: ', false);
  const email = await screen.ask('E-mail: ', false);
  const secret = await newPassword(screen);
  const body = { identity, email, password: secret };
  const { activation } = await callApi<Static<typeof SignupAnswer>>(api, { method: 'POST', path: '/v1/signup', body });
  const where = activation === 'mail' ? `was sent to ${email}` : 'is in the log of the server, which sends no mail';
  screen.out.write(`The activation code ${where}.\n`);
  await activate(api, identity, screen);
  return { identity, secret };
}

/** Asks for a password twice. @throws TriggerFsError TFS_USAGE when the two differ */
export async function newPassword(screen: ConsoleScreen): Promise<string> {
  const secret = await screen.ask('New password: ', true);
  if ((await screen.ask('Once more: ', true)) !== secret) throw new TriggerFsError('TFS_USAGE', 'the passwords differ');
  return secret;
}

/** A wrong code may be typed again; the server says when it was too often. */
async function activate(api: string, identity: string, screen: ConsoleScreen): Promise<void> {
  for (;;) {
    const code = await screen.ask('Activation code: ', false);
    try {
      await callApi(api, { method: 'POST', path: '/v1/activate', body: { identity, code } });
      return;
    } catch (error) {
      if (!(error instanceof TriggerFsError) || error.definition.status >= 429) throw error;
      screen.out.write(`${error.message}\n`);
    }
  }
}
