import { type Static, Type } from 'typebox';

/** Body of every error answer, in the shape of RFC 9457 (application/problem+json). */
export const Problem = Type.Object({
  /** Code of the registry, such as TFS_NOT_FOUND. */
  code: Type.String(),
  title: Type.String(),
  status: Type.Integer(),
  detail: Type.String(),
  hint: Type.String(),
  retryable: Type.Boolean(),
});
export type Problem = Static<typeof Problem>;
