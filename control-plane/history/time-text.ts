import { TriggerFsError } from '../../protocol/errors.ts';
import { parseDuration } from '../../protocol/quantity.ts';

const EARLIEST = Date.UTC(2000, 0, 1);
const LATEST = Date.UTC(2200, 0, 1);

/**
 * A point in time as queries write it: `-90s`, `-1h`, `-7d` before now, or ISO 8601, which without a zone is UTC.
 * @throws TriggerFsError TFS_BAD_REQUEST
 */
export function readTime(text: string, now: Date): Date {
  const ms = text.startsWith('-') ? now.getTime() - (parseDuration(text.slice(1)) ?? Number.NaN) : parseDate(text);
  if (ms >= EARLIEST && ms <= LATEST) return new Date(ms);
  throw new TriggerFsError('TFS_BAD_REQUEST', `${text} is no point in time; write -1h, or 2026-11-21T21:14:06Z`);
}

function parseDate(text: string): number {
  // `+` means a blank in a query, and many forget to escape it.
  const iso = text.replace(/ (?=\d{2}:?\d{2}$)/, '+').replace(' ', 'T');
  const zoned = /T.*(Z|[+-]\d{2}:?\d{2})$/.test(iso) || !iso.includes('T');
  return Date.parse(zoned ? iso : `${iso}Z`);
}
