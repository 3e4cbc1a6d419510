import { type Static, Type } from 'typebox';
import { CLOSED, NameText, Role, Timestamp } from './common.ts';

/** Body of `POST /v1/invites`: whom to invite, by identity or by mail address. */
export const InviteCreate = Type.Union([
  Type.Object({ identity: NameText, role: Type.Optional(Role) }, CLOSED),
  Type.Object({ email: Type.String({ format: 'email', maxLength: 254 }), role: Type.Optional(Role) }, CLOSED),
]);

/** An invitation as the team that made it sees it. One of `identity` and `email` is null. */
export const InviteView = Type.Object({
  id: Type.Integer(),
  identity: Type.Union([Type.String(), Type.Null()]),
  email: Type.Union([Type.String(), Type.Null()]),
  role: Role,
  invitedBy: Type.String(),
  createdAt: Timestamp,
  expiresAt: Timestamp,
});
export type InviteView = Static<typeof InviteView>;

/** An invitation as the invited sees it. */
export const InvitationView = Type.Object({
  id: Type.Integer(),
  team: Type.String(),
  role: Role,
  invitedBy: Type.String(),
  createdAt: Timestamp,
  expiresAt: Timestamp,
});
export type InvitationView = Static<typeof InvitationView>;

/** Answer to an accepted invitation: the team, which the caller can switch to now. */
export const Joined = Type.Object({ id: Type.Integer(), team: Type.String(), role: Role });
export type Joined = Static<typeof Joined>;

/** Path of one invitation. */
export const InviteParams = Type.Object({ id: Type.String({ pattern: '^[0-9]{1,9}$' }) });
