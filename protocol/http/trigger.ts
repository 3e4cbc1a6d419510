import { type Static, Type } from 'typebox';
import { LIMITS } from '../limits.ts';
import { ARGUMENT_PATTERN, MAX_PATH_LENGTH } from '../names.ts';
import { CLOSED, Description, Origin, PluginText, Visibility } from './common.ts';
import { FramingWord } from './tree.ts';

/** Absolute path in the file tree; the server checks its segments. */
export const PathText = Type.String({ minLength: 2, maxLength: MAX_PATH_LENGTH, pattern: '^/' });

/** Permission bits. */
export const Mode = Type.Integer({ minimum: 0, maximum: 0o7777 });

const Timeout = Type.Integer({ minimum: LIMITS.minTimeoutMs, maximum: LIMITS.maxTimeoutMs });
const Args = Type.Record(Type.String({ pattern: ARGUMENT_PATTERN }), Type.String({ maxLength: LIMITS.argsBytes }), {
  additionalProperties: false,
});

const RULE = {
  mode: Mode,
  plugin: Type.Union([PluginText, Type.Null()]),
  /** Name of a service. Workers cannot be attached to a trigger. */
  service: Type.Union([Type.String({ minLength: 1, maxLength: 64 }), Type.Null()]),
  args: Args,
  /** Null: the service's timeout. */
  timeoutMs: Type.Union([Timeout, Type.Null()]),
  framing: FramingWord,
  durability: Type.Union([Type.Literal('process'), Type.Literal('fsync')]),
  /** What is kept of its messages; null: what the service keeps. */
  history: Type.Union([Type.Literal('off'), Type.Literal('meta'), Type.Literal('output'), Type.Null()]),
  visibility: Visibility,
} as const;

/** A trigger file and its rule. */
export const TriggerView = Type.Object({
  ...Origin,
  /** Last segment of the path. */
  name: Type.String(),
  path: Type.String(),
  ...RULE,
  args: Type.Record(Type.String(), Type.String()),
  hits: Type.Integer(),
  lastHitAt: Type.Union([Type.String(), Type.Null()]),
});
export type TriggerView = Static<typeof TriggerView>;

const CHANGES = Type.Partial(Type.Object(RULE)).properties;

/** Body of `POST /v1/triggers`. */
export const TriggerCreate = Type.Object({ path: PathText, description: Type.Optional(Description), ...CHANGES }, CLOSED);

/** Body of `PATCH /v1/triggers/:name`; another `path` renames or moves it. */
export const TriggerChange = Type.Object(
  { path: Type.Optional(PathText), description: Type.Optional(Description), ...CHANGES },
  { ...CLOSED, minProperties: 1 },
);
export type TriggerChange = Static<typeof TriggerChange>;
