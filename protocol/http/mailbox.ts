import { type Static, Type } from 'typebox';
import { Timestamp } from './common.ts';

/** A letter in the mailbox of the team or of the caller. */
export const MailView = Type.Object({
  id: Type.Integer(),
  /** `team` letters are in the mailboxes of all members; reading one hides it from nobody else. */
  to: Type.Union([Type.Literal('team'), Type.Literal('user')]),
  /** What it is about: `invite`, `worker`, `quota`, `maintenance`, ... */
  kind: Type.String(),
  subject: Type.String(),
  body: Type.String(),
  createdAt: Timestamp,
  /** When the caller read it. */
  readAt: Type.Union([Timestamp, Type.Null()]),
});
export type MailView = Static<typeof MailView>;

/** Query of `GET /v1/mail`. */
export const MailQuery = Type.Object(
  {
    /** Only what the caller has not read. */
    unread: Type.Optional(Type.Union([Type.Literal('true'), Type.Literal('false')])),
    /** Only letters older than this one. */
    before: Type.Optional(Type.String({ pattern: '^[0-9]{1,9}$' })),
    /** Default 50. */
    limit: Type.Optional(Type.String({ pattern: '^([1-9][0-9]?|[1-4][0-9]{2}|500)$' })),
  },
  { additionalProperties: false },
);

/** Answer of `GET /v1/mail`, newest first. */
export const MailList = Type.Object({ items: Type.Array(MailView), unread: Type.Integer() });

/** Path of one letter. */
export const MailParams = Type.Object({ id: Type.String({ pattern: '^[0-9]{1,9}$' }) });
