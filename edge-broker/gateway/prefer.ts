import { TriggerFsError } from '../../protocol/errors.ts';

/** What a `Prefer` header (RFC 7240) asks for. */
export interface Preference {
  /** Accept it, and answer 202 before it has run. */
  readonly async: boolean;
  /** Milliseconds to wait for the end first; 0 for none. */
  readonly waitMs: number;
}

/** Longest wait; callers that want more ask again. */
export const MAX_WAIT_MS = 60_000;
const KEY = /^[\x21-\x7e]{1,200}$/;
const QUOTED = /^"((?:[\x20-\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"$/;

/** Reads a `Prefer` header. What is not known or not well-formed is left out, as the RFC wants. */
export function parsePrefer(header: string | readonly string[] | undefined): Preference {
  let [async, waitMs] = [false, 0];
  for (const preference of [header ?? ''].flat().join(',').slice(0, 1024).split(',')) {
    const [name = '', value = ''] = (preference.split(';')[0] as string).split('=').map((text) => text.trim());
    if (/^respond-async$/i.test(name)) async = true;
    else if (/^wait$/i.test(name) && /^"?\d{1,9}"?$/.test(value)) waitMs = Math.min(Number(value.replaceAll('"', '')) * 1000, MAX_WAIT_MS);
  }
  return { async, waitMs };
}

/** What of it is honoured, as `Preference-Applied` says it. */
export function appliedPreference({ async, waitMs }: Preference): string {
  return [...(async ? ['respond-async'] : []), ...(waitMs > 0 ? [`wait=${waitMs / 1000}`] : [])].join(', ');
}

/** The key of an `Idempotency-Key` header, bare or in quotes; null for none. @throws TriggerFsError TFS_BAD_REQUEST */
export function idempotencyKey(header: string | readonly string[] | undefined): string | null {
  if (header === undefined) return null;
  const text = typeof header === 'string' ? header.trim() : '';
  const quoted = QUOTED.exec(text)?.[1]?.replace(/\\(["\\])/g, '$1');
  const key = quoted ?? text;
  if (KEY.test(key)) return key;
  throw new TriggerFsError('TFS_BAD_REQUEST', 'an Idempotency-Key is one text of 1 to 200 printable characters without blanks');
}
