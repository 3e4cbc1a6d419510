import { type Static, Type } from 'typebox';
import { CLOSED, Timestamp } from './common.ts';
import { Mode, PathText } from './trigger.ts';

/** A directory of the file tree. */
export const DirectoryView = Type.Object({
  id: Type.Integer(),
  path: Type.String(),
  mode: Type.Integer(),
  owner: Type.Union([Type.String(), Type.Null()]),
  createdAt: Timestamp,
  updatedAt: Timestamp,
});
export type DirectoryView = Static<typeof DirectoryView>;

/** Body of `POST /v1/directories`; the parent must exist. */
export const DirectoryCreate = Type.Object({ path: PathText, mode: Type.Optional(Mode) }, CLOSED);

/** Body of `PATCH /v1/directories/:name`; another `path` moves it with everything in it. */
export const DirectoryChange = Type.Object({ path: Type.Optional(PathText), mode: Type.Optional(Mode) }, { ...CLOSED, minProperties: 1 });
