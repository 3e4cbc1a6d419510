import { type Static, Type } from 'typebox';

/** What a plan limits. `teams` counts those that the caller owns, `queued` the invocations that wait, everything else what the team has. */
export const PlanResource = Type.Union([
  Type.Literal('teams'),
  Type.Literal('users'),
  Type.Literal('workers'),
  Type.Literal('services'),
  Type.Literal('triggers'),
  Type.Literal('schedules'),
  Type.Literal('queued'),
]);

/** Answer of `GET /v1/plan`: what the team uses of what its plan allows. */
export const PlanView = Type.Object({
  plan: Type.String(),
  publicServices: Type.Boolean(),
  /** Days for which the history is kept. */
  historyDays: Type.Integer(),
  limits: Type.Array(
    Type.Object({
      resource: PlanResource,
      used: Type.Integer(),
      /** Null: not limited. */
      limit: Type.Union([Type.Integer(), Type.Null()]),
    }),
  ),
});
export type PlanView = Static<typeof PlanView>;
