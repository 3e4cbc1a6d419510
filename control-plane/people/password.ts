import { TriggerFsError } from '../../protocol/errors.ts';

const MIN_BYTES = 8;
/** bcrypt reads no more. */
const MAX_BYTES = 72;
const MIN_DIFFERENT = 4;

/** @throws TriggerFsError TFS_BAD_REQUEST when a new password is too short, too long, or too easy to guess for someone with these names */
export function assertPassword(password: string, names: readonly string[] = []): void {
  const bytes = Buffer.byteLength(password);
  if (bytes < MIN_BYTES) refuse(`has ${bytes} bytes, less than ${MIN_BYTES}`);
  if (bytes > MAX_BYTES) refuse(`has ${bytes} bytes, more than ${MAX_BYTES}`);
  if (new Set(password).size < MIN_DIFFERENT) refuse(`has fewer than ${MIN_DIFFERENT} different characters`);
  const lower = password.toLowerCase();
  for (const name of names.flatMap((text) => [text, text.split('@')[0] as string])) {
    if (name !== '' && lower === name.toLowerCase()) refuse('is the name of its owner');
  }
}

function refuse(reason: string): never {
  throw new TriggerFsError('TFS_BAD_REQUEST', `the password ${reason}`);
}
