import { type Static, type TArray, type TObject, type TSchema, Type } from 'typebox';
import { NAME_PATTERN, PLUGIN_PATTERN } from '../names.ts';

/** Name of a team, user, worker or service. */
export const NameText = Type.String({ pattern: NAME_PATTERN });

/** Name of a plugin, `NAME` or `NAME/NAME`. */
export const PluginText = Type.String({ pattern: PLUGIN_PATTERN });

/** A line that people wrote about an object. */
export const Description = Type.String({ maxLength: 1000 });

/** Who sees an object: its owner, its team, or everyone (services can then be called from other teams). */
export const Visibility = Type.Union([Type.Literal('local'), Type.Literal('team'), Type.Literal('public')]);
export type Visibility = Static<typeof Visibility>;

/** A service is spread over its workers by one of these. */
export const DispatchAlgorithm = Type.Union([Type.Literal('roundrobin'), Type.Literal('serial'), Type.Literal('mirror')]);

/** What a user may do in a team: viewer reads, member changes what is theirs, admin changes everything but owners and the team. */
export const Role = Type.Union([Type.Literal('owner'), Type.Literal('admin'), Type.Literal('member'), Type.Literal('viewer')]);
export type Role = Static<typeof Role>;

/** Password of a user; bcrypt reads no more than 72 bytes, which the server checks. */
export const Secret = Type.String({ minLength: 8, maxLength: 72 });

/** A point in time, ISO 8601 in UTC. */
export const Timestamp = Type.String();

/** Path parameter of one object: its name, or the id that lists show. */
export const ObjectParams = Type.Object({ name: Type.String({ minLength: 1, maxLength: 1100 }) });

/** What every object says about itself. `owner` is null when that user is gone. */
export const Origin = {
  id: Type.Integer(),
  description: Type.String(),
  owner: Type.Union([Type.String(), Type.Null()]),
  createdAt: Timestamp,
  updatedAt: Timestamp,
} as const;

/** A list answer. */
export function listOf<T extends TSchema>(item: T): TObject<{ items: TArray<T> }> {
  return Type.Object({ items: Type.Array(item) });
}

/** A body without unknown properties. */
export const CLOSED = { additionalProperties: false } as const;
