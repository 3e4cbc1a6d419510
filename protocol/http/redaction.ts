import { type Static, Type } from 'typebox';
import { NAME_PATTERN } from '../names.ts';
import { CLOSED, Timestamp } from './common.ts';

/** Path parameter of one word: the name it was given. */
export const RedactionParams = Type.Object({ name: Type.String({ pattern: NAME_PATTERN }) });

/** A word that is never stored. The word itself is not shown again. */
export const RedactionView = Type.Object({ name: Type.String(), createdAt: Timestamp });
export type RedactionView = Static<typeof RedactionView>;

/** Body of `PUT /v1/redactions/:name`. Shorter words would blacken too much that is no secret. */
export const RedactionWord = Type.Object({ word: Type.String({ minLength: 6, maxLength: 1000 }) }, CLOSED);
