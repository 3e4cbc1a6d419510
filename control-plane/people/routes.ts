import { Type } from 'typebox';
import { TriggerFsError } from '../../protocol/errors.ts';
import { ActivateRequest, ResendRequest, SignupAnswer, SignupRequest } from '../../protocol/http/signup.ts';
import { AccountDelete } from '../../protocol/http/user.ts';
import { networkOf } from '../../runtime/network.ts';
import { Attempts } from '../auth/attempts.ts';
import type { App, Services } from '../context.ts';
import { principalOf } from '../http/guard.ts';
import { createCode, hashCode } from './activation-code.ts';
import { activationMail, knownAddressMail } from './letters.ts';
import { assertPassword } from './password.ts';
import { activate, deleteAccount, queueAccountMail, renewActivation, signUp } from './repository.ts';

/** Each sign-up costs a hash and a mail. */
const SIGNUPS_PER_MINUTE = 20;
const WRONG_CODES_PER_MINUTE = 20;
const WRONG_CODES_PER_ACCOUNT = 5;
const WRONG_PASSWORDS_PER_MINUTE = 5;

/** Sign-up, activation, and the end of an account. */
export function registerPeople(app: App, { database, logins, hashing, mailer, signup, passwordCost }: Services): void {
  const wrongCodes = new Attempts(WRONG_CODES_PER_MINUTE);
  const wrongCodesOfAccount = new Attempts(WRONG_CODES_PER_ACCOUNT);
  const wrongPasswords = new Attempts(WRONG_PASSWORDS_PER_MINUTE);
  const rateLimit = { max: SIGNUPS_PER_MINUTE, timeWindow: 60_000 };

  app.post(
    '/v1/signup',
    {
      config: { policy: 'public', rateLimit },
      schema: { summary: 'Sign up; the account waits for its activation code', body: SignupRequest, response: { 202: SignupAnswer } },
    },
    async (request, reply) => {
      if (!signup) throw new TriggerFsError('TFS_FORBIDDEN', 'this installation takes no sign-ups; ask its operator for an account');
      const { identity, email, password } = request.body;
      assertPassword(password, [identity, email]);
      const code = createCode();
      const person = { identity, email, password, cost: passwordCost, codeHash: hashCode(code) };
      const holder = await hashing.run(networkOf(request.ip), false, () =>
        logins.fleet(async (tx) => {
          const known = await signUp(tx, person);
          if (mailer.hasServer) await queueAccountMail(tx, identity);
          return known;
        }),
      );
      if (!mailer.hasServer) mailer.print(holder === null ? activationMail(email, identity, code) : knownAddressMail(email, holder));
      return reply.code(202).send({ identity, activation: mailer.hasServer ? 'mail' : 'log' });
    },
  );

  app.post(
    '/v1/signup/resend',
    {
      config: { policy: 'public', rateLimit },
      schema: { summary: 'Send another activation code, at most three times', body: ResendRequest, response: { 202: SignupAnswer } },
    },
    async (request, reply) => {
      const code = createCode();
      const waiting = await database.fleet(async (tx) => {
        const renewed = await renewActivation(tx, request.body.identity, mailer.hasServer ? null : hashCode(code));
        if (renewed !== undefined && mailer.hasServer) await queueAccountMail(tx, renewed.identity);
        return renewed;
      });
      if (waiting !== undefined && !mailer.hasServer) mailer.print(activationMail(waiting.email, waiting.identity, code));
      return reply.code(202).send({ identity: request.body.identity, activation: mailer.hasServer ? 'mail' : 'log' });
    },
  );

  app.post(
    '/v1/activate',
    {
      config: { policy: 'public' },
      schema: { summary: 'Open an account with its activation code', body: ActivateRequest, response: { 204: Type.Null() } },
    },
    async (request, reply) => {
      const { identity, code } = request.body;
      const network = networkOf(request.ip);
      const activated = await wrongCodes.run(network, () =>
        wrongCodesOfAccount.run(`${network} ${identity.toLowerCase()}`, async () => {
          return (await activate(database, identity, hashCode(code))) ? true : undefined;
        }),
      );
      if (activated === undefined)
        throw new TriggerFsError('TFS_BAD_CREDENTIALS', 'identity or activation code is wrong, or the code has ended');
      return reply.code(204).send(null);
    },
  );

  app.delete(
    '/v1/account',
    {
      config: { policy: 'account' },
      schema: {
        summary: 'Delete the own account, with the teams that nobody else is in',
        body: AccountDelete,
        response: { 204: Type.Null() },
      },
    },
    async (request, reply) => {
      const { id } = principalOf(request);
      const { secret } = request.body;
      const deleted = await wrongPasswords.run(String(id), () =>
        hashing.run(networkOf(request.ip), false, () => logins.fleet((tx) => deleteAccount(tx, id, secret))),
      );
      if (deleted === undefined) throw new TriggerFsError('TFS_BAD_CREDENTIALS', 'the password is another one');
      return reply.code(204).send(null);
    },
  );
}
