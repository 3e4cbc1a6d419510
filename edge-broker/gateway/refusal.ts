import { readJson } from '../../protocol/batch.ts';
import { ERRORS, type ErrorCode, TriggerFsError } from '../../protocol/errors.ts';

/** The error in the body of a REFUSED. */
export function readRefusal(batch: Buffer, start: number, end: number): TriggerFsError {
  const { code, message } = readJson(batch, start, end);
  const known = typeof code === 'string' && Object.hasOwn(ERRORS, code);
  return new TriggerFsError(known ? (code as ErrorCode) : 'TFS_INTERNAL', String(message));
}
