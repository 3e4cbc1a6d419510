import { TriggerFsError } from '../../protocol/errors.ts';

/** The last invocation of a page: the next one begins with what comes after it in the list. */
export interface PageCursor {
  /** The time that the list is ordered by, in milliseconds since 1970. */
  readonly listedAt: number;
  readonly id: string;
}

/** Writes a cursor for an address. */
export function formatPageCursor({ listedAt, id }: PageCursor): string {
  return Buffer.from(`${listedAt}.${id}`).toString('base64url');
}

/** @throws TriggerFsError TFS_BAD_REQUEST when it is none of ours */
export function readPageCursor(text: string): PageCursor {
  const match = /^(\d{1,14})\.([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$/.exec(Buffer.from(text, 'base64url').toString('latin1'));
  if (match === null) throw new TriggerFsError('TFS_BAD_REQUEST', 'before takes the value of next from the page before');
  return { listedAt: Number(match[1]), id: match[2] as string };
}
