import { constants } from 'node:os';
import { TriggerFsError } from '../protocol/errors.ts';

/** Names of the errors that operations answer with. */
export type ErrnoName = keyof typeof constants.errno;

/** An operation's refusal: what the caller's system call fails with. */
export class FsError extends Error {
  override name = 'FsError';
  readonly code: ErrnoName;

  constructor(code: ErrnoName, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** What the control-plane's answers mean to a system call; everything else is EIO. */
const API_ERRNO: Readonly<Record<string, ErrnoName>> = {
  TFS_UNAUTHENTICATED: 'EACCES',
  TFS_BAD_CREDENTIALS: 'EACCES',
  TFS_REVOKED: 'EACCES',
  TFS_FORBIDDEN: 'EACCES',
  TFS_WRONG_TEAM: 'EACCES',
  TFS_NOT_FOUND: 'ENOENT',
  TFS_CONFLICT: 'EEXIST',
  TFS_LIMIT: 'EDQUOT',
  TFS_BAD_NAME: 'EINVAL',
  TFS_BAD_REQUEST: 'EINVAL',
  TFS_TOO_LARGE: 'EFBIG',
  TFS_RATE_LIMITED: 'EAGAIN',
  TFS_UNAVAILABLE: 'EHOSTUNREACH',
  TFS_TIMEOUT: 'ETIMEDOUT',
  TFS_SPOOL_FULL: 'ENOSPC',
};

/** The error name for anything thrown; null when it is unexpected, so that the caller can log it and answer EIO. */
export function errnoName(thrown: unknown): ErrnoName | null {
  if (thrown instanceof FsError) return thrown.code;
  if (thrown instanceof TriggerFsError) return API_ERRNO[thrown.code] ?? null;
  return null;
}

/** Negative error number of this platform, as FUSE wants it. */
export function errnoNumber(name: ErrnoName): number {
  return -constants.errno[name];
}
