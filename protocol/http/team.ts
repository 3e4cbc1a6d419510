import { type Static, Type } from 'typebox';
import { CLOSED, Description, NameText, Role, Timestamp } from './common.ts';

/** A team as its members see it. */
export const TeamView = Type.Object({
  id: Type.Integer(),
  name: Type.String(),
  description: Type.String(),
  /** Role of the caller in that team. */
  role: Role,
  createdAt: Timestamp,
  updatedAt: Timestamp,
});
export type TeamView = Static<typeof TeamView>;

/** Body of `POST /v1/teams`: the caller becomes its owner, and logs in to it anew to work there. */
export const TeamCreate = Type.Object({ name: NameText, description: Type.Optional(Description) }, CLOSED);

/** Body of `POST /v1/leave`: the team of the session, so that nobody leaves another one by mistake. */
export const LeaveRequest = Type.Object({ team: NameText }, CLOSED);

/** Body of `PATCH /v1/teams/:name`. */
export const TeamChange = Type.Object(
  { name: Type.Optional(NameText), description: Type.Optional(Description) },
  { ...CLOSED, minProperties: 1 },
);
