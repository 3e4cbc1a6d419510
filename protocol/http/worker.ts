import { type Static, Type } from 'typebox';
import { CLOSED, Description, NameText, Origin } from './common.ts';

/** A worker. Its identity is a service, too. */
export const WorkerView = Type.Object({
  ...Origin,
  identity: Type.String(),
  /** ONLINE while at least one living broker holds a session of it. */
  state: Type.Union([Type.Literal('ONLINE'), Type.Literal('DISCONNECTED')]),
  /** Runs it takes at once and those running, over all its sessions; 0 while disconnected. */
  concurrency: Type.Integer(),
  running: Type.Integer(),
  /** Program version and plugins, as announced; null and empty while disconnected. */
  version: Type.Union([Type.String(), Type.Null()]),
  plugins: Type.Array(Type.String()),
  /** Services it is attached to. */
  services: Type.Array(Type.String()),
});
export type WorkerView = Static<typeof WorkerView>;

/** Answer of creation and rotation: the only time the token is shown. */
export const WorkerWithToken = Type.Object({ ...WorkerView.properties, token: Type.String() });
export type WorkerWithToken = Static<typeof WorkerWithToken>;

/** Body of `POST /v1/workers`. */
export const WorkerCreate = Type.Object({ identity: NameText, description: Type.Optional(Description) }, CLOSED);

/** Body of `PATCH /v1/workers/:name`. */
export const WorkerChange = Type.Object(
  { identity: Type.Optional(NameText), description: Type.Optional(Description) },
  { ...CLOSED, minProperties: 1 },
);
