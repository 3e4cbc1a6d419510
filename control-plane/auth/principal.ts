import { TriggerFsError } from '../../protocol/errors.ts';
import type { Role } from '../../protocol/http/common.ts';
import type { Claims } from '../../runtime/tokens.ts';

/** Who makes a request, as the database knows them at this moment. */
export interface Principal {
  /** `account`: a user in no team. */
  readonly kind: Exclude<Claims['kind'], 'system'> | 'account';
  /** Id of the user or worker. */
  readonly id: number;
  readonly identity: string;
  /** 0: in no team. */
  readonly teamId: number;
  readonly team: string;
  readonly role: Exclude<Claims['role'], 'system'>;
  readonly epoch: number;
  /** Session, kept through renewals. */
  readonly sid: string;
  /** Null: not limited by scopes. */
  readonly scopes: readonly ('invoke' | 'read' | 'write')[] | null;
  /** Login, in seconds since 1970. */
  readonly auth: number;
  /** The tokens of this session may not outlive this, in seconds since 1970. */
  readonly notAfter: number;
  /** They operate the installation. */
  readonly operator: boolean;
  /** False when the request carries a token made from an API token instead of the API token itself. */
  readonly renewable: boolean;
}

/** Whether the caller may change things that others own. */
export function isAdmin(principal: Principal): boolean {
  return principal.role === 'admin' || principal.role === 'owner';
}

/** Only owners make, change and remove owners. @throws TriggerFsError TFS_FORBIDDEN */
export function assertMayGive(principal: Principal, role: Role): void {
  if (role === 'owner' && principal.role !== 'owner') throw new TriggerFsError('TFS_FORBIDDEN', 'only owners decide who is an owner');
}

/** @throws TriggerFsError TFS_FORBIDDEN when the caller may not change an object with this owner */
export function assertMayChange(principal: Principal, ownerId: number | null, what: string): void {
  if (isAdmin(principal) || ownerId === principal.id) return;
  throw new TriggerFsError('TFS_FORBIDDEN', `${what} is another user's; members change only their own`);
}
