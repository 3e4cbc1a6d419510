import { type Static, Type } from 'typebox';
import { CLOSED, NameText, Role, Secret, Timestamp } from './common.ts';

/** A member of the team. */
export const UserView = Type.Object({
  id: Type.Integer(),
  identity: Type.String(),
  email: Type.Union([Type.String(), Type.Null()]),
  role: Role,
  active: Type.Boolean(),
  /** When they joined this team. */
  createdAt: Timestamp,
  updatedAt: Timestamp,
});
export type UserView = Static<typeof UserView>;

/** Body of `POST /v1/users`: a new account in this team. Who has an account already is invited instead. */
export const UserCreate = Type.Object(
  {
    identity: NameText,
    email: Type.Optional(Type.String({ format: 'email', maxLength: 254 })),
    secret: Secret,
    role: Type.Optional(Role),
  },
  CLOSED,
);

/** Body of `PATCH /v1/users/:name`. */
export const UserChange = Type.Object({ role: Role }, CLOSED);

/** Body of `DELETE /v1/account`: the caller's own. */
export const AccountDelete = Type.Object({ secret: Type.String({ minLength: 1, maxLength: 1024 }) }, CLOSED);

/** Body of `PUT /v1/password`: the caller's own. All their sessions end. */
export const PasswordChange = Type.Object({ secret: Type.String({ minLength: 1, maxLength: 1024 }), newSecret: Secret }, CLOSED);
