import { type Static, Type } from 'typebox';

/** How the bytes written to a trigger file become requests. */
export const FRAMINGS = ['write', 'line', 'close'] as const;
export type Framing = (typeof FRAMINGS)[number];

/** A framing; written out, because a union made by mapping has no static type. */
export const FramingWord = Type.Union([Type.Literal('write'), Type.Literal('line'), Type.Literal('close')]);

/** A directory of a team's file tree. */
export const TreeDirectory = Type.Object({
  id: Type.Integer(),
  /** Absolute path, such as `/demo`. The root `/` exists always and is not listed. */
  path: Type.String(),
  /** Permission bits, 0 to 0o7777. */
  mode: Type.Integer(),
  updatedAt: Type.String(),
});
export type TreeDirectory = Static<typeof TreeDirectory>;

/** A trigger file of a team's file tree. */
export const TreeTrigger = Type.Object({
  id: Type.Integer(),
  path: Type.String(),
  mode: Type.Integer(),
  /** Empty until set: writing answers EINVAL then. */
  plugin: Type.Union([Type.String(), Type.Null()]),
  /** Name of the attached service; null until one is attached. */
  service: Type.Union([Type.String(), Type.Null()]),
  args: Type.Record(Type.String(), Type.String()),
  timeoutMs: Type.Integer(),
  framing: FramingWord,
  /** `process`: survives kill -9; `fsync`: survives power loss too. */
  durability: Type.Union([Type.Literal('process'), Type.Literal('fsync')]),
  hits: Type.Integer(),
  updatedAt: Type.String(),
});
export type TreeTrigger = Static<typeof TreeTrigger>;

/** Answer of `GET /v1/tree`: the whole tree that the caller may see. */
export const Tree = Type.Object({
  /** The team's configuration version; CHANGED records carry the same number. */
  version: Type.Integer(),
  directories: Type.Array(TreeDirectory),
  triggers: Type.Array(TreeTrigger),
});
export type Tree = Static<typeof Tree>;
