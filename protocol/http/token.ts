import { type Static, Type } from 'typebox';
import { CLOSED, Timestamp } from './common.ts';

const Scope = Type.Union([Type.Literal('invoke'), Type.Literal('read'), Type.Literal('write')]);

/** An API token of the caller. */
export const TokenView = Type.Object({
  id: Type.Integer(),
  name: Type.String(),
  scopes: Type.Array(Scope),
  owner: Type.String(),
  expiresAt: Type.Union([Type.String(), Type.Null()]),
  createdAt: Timestamp,
});
export type TokenView = Static<typeof TokenView>;

/** Answer of creation: the only time the token itself is shown. */
export const TokenWithSecret = Type.Object({ ...TokenView.properties, token: Type.String() });
export type TokenWithSecret = Static<typeof TokenWithSecret>;

/** Body of `POST /v1/tokens`. `write` acts with the user's role, and never more than that. */
export const TokenCreate = Type.Object(
  {
    name: Type.String({ pattern: '^[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}$' }),
    scopes: Type.Optional(Type.Array(Scope, { minItems: 1, maxItems: 3, uniqueItems: true })),
    expiresAt: Type.Optional(Type.Union([Type.String({ format: 'date-time' }), Type.Null()])),
  },
  CLOSED,
);
