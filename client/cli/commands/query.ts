import { TriggerFsError } from '../../../protocol/errors.ts';
import { parseDuration } from '../../../protocol/quantity.ts';

/** The query of a request, with a question mark in front, from the named settings of a command; empty without any. */
export function queryOf(options: Readonly<Record<string, readonly string[] | undefined>>): string {
  const query = new URLSearchParams();
  for (const [name, values] of Object.entries(options)) {
    const value = values?.at(-1);
    if (value !== undefined) query.set(name, value);
  }
  const text = query.toString();
  return text === '' ? '' : `?${text}`;
}

/** `1h` is an hour ago; everything else must be a time. */
export function sinceOf(text: string): string {
  return parseDuration(text) === null ? text : `-${text}`;
}

/** A time to come as the API takes it: `2h` from now, or a time. @throws TriggerFsError TFS_USAGE */
export function untilOf(text: string): string {
  const ms = parseDuration(text);
  const at = ms === null ? Date.parse(text) : Date.now() + ms;
  if (Number.isNaN(at))
    throw new TriggerFsError('TFS_USAGE', `${text} is neither a duration such as 2h nor a time such as 2026-12-24T18:00Z`);
  return new Date(at).toISOString();
}
