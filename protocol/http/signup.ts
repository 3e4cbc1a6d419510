import { Type } from 'typebox';
import { CLOSED } from './common.ts';

/** Identity of someone who signs up; shorter ones are for accounts that admins make. */
export const SIGNUP_IDENTITY_PATTERN = '^[A-Za-z0-9_][A-Za-z0-9_.-]{2,31}$';

const Identity = Type.String({ pattern: SIGNUP_IDENTITY_PATTERN });

/** Body of `POST /v1/signup`. The password has 8 to 72 bytes (see docs/teams.md for what else it must not be). */
export const SignupRequest = Type.Object(
  {
    identity: Identity,
    email: Type.String({ format: 'email', maxLength: 254 }),
    password: Type.String({ minLength: 8, maxLength: 72 }),
  },
  CLOSED,
);

/** Answer to a sign-up, the same whether the address has an account already or not. */
export const SignupAnswer = Type.Object({
  identity: Type.String(),
  /** Where the activation code goes: by mail, or without a mail server to the log of the control-plane. */
  activation: Type.Union([Type.Literal('mail'), Type.Literal('log')]),
});

/** Body of `POST /v1/signup/resend`. */
export const ResendRequest = Type.Object({ identity: Identity }, CLOSED);

/** Body of `POST /v1/activate`. Codes are read without regard to case, blanks and dashes. */
export const ActivateRequest = Type.Object({ identity: Identity, code: Type.String({ minLength: 1, maxLength: 64 }) }, CLOSED);
