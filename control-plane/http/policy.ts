import { TriggerFsError } from '../../protocol/errors.ts';
import type { Role } from '../../protocol/http/common.ts';
import type { Principal } from '../auth/principal.ts';

/** Who may call a route. */
interface Policy {
  readonly kinds: readonly Principal['kind'][];
  readonly roles: readonly Principal['role'][];
  /** Scope that an API token needs; null: every token may. */
  readonly scope: 'read' | 'write' | 'invoke' | null;
  /** Only for those who operate the installation. */
  readonly operator?: true;
}

const READERS: readonly Role[] = ['viewer', 'member', 'admin', 'owner'];
const PEOPLE: readonly Principal['role'][] = [...READERS, 'account'];
const WRITERS: readonly Role[] = ['member', 'admin', 'owner'];
const ADMINS: readonly Role[] = ['admin', 'owner'];

/** The policies that routes choose from; a route without one is refused when it is registered. */
export const POLICIES = {
  /** Everyone, without a token. */
  public: null,
  /** Everyone who is logged in, workers too. */
  session: { kinds: ['user', 'token', 'worker', 'account'], roles: [...PEOPLE, 'worker'], scope: null },
  /** Every person, in a team or not. */
  account: { kinds: ['user', 'account'], roles: PEOPLE, scope: null },
  /** Every person, and API tokens that may read. */
  known: { kinds: ['user', 'token', 'account'], roles: PEOPLE, scope: 'read' },
  /** Operates the installation. */
  operate: { kinds: ['user', 'account'], roles: PEOPLE, scope: null, operator: true },
  /** Sees the team. */
  read: { kinds: ['user', 'token'], roles: READERS, scope: 'read' },
  /** Calls services. */
  invoke: { kinds: ['user', 'token'], roles: WRITERS, scope: 'invoke' },
  /** Creates things, and changes those of their own; admins change everybody's. */
  change: { kinds: ['user', 'token'], roles: WRITERS, scope: 'write' },
  /** Manages the team's members. */
  administer: { kinds: ['user', 'token'], roles: ADMINS, scope: 'write' },
  /** Manages the team itself. */
  own: { kinds: ['user', 'token'], roles: ['owner'], scope: 'write' },
  /** A person in a team: API tokens cannot make tokens. */
  person: { kinds: ['user'], roles: READERS, scope: null },
} as const satisfies Record<string, Policy | null>;

const REFUSALS: Readonly<Record<Principal['kind'], string>> = {
  user: 'a user may not do this',
  worker: 'a worker may not do this',
  token: 'an API token may not do this',
  account: 'this login is in no team; switch to a team first',
};

/** Name of a policy. */
export type PolicyName = keyof typeof POLICIES;

/** Whether a route's declaration names a policy. */
export function isPolicy(name: unknown): name is PolicyName {
  return typeof name === 'string' && Object.hasOwn(POLICIES, name);
}

/** @throws TriggerFsError TFS_FORBIDDEN when the policy does not admit the caller */
export function assertAdmitted(name: PolicyName, principal: Principal): void {
  const policy: Policy | null = POLICIES[name];
  if (policy === null) return;
  if (!policy.kinds.includes(principal.kind)) throw new TriggerFsError('TFS_FORBIDDEN', REFUSALS[principal.kind]);
  if (policy.operator === true && !principal.operator)
    throw new TriggerFsError('TFS_FORBIDDEN', 'only operators of the installation may do this');
  if (!policy.roles.includes(principal.role)) throw new TriggerFsError('TFS_FORBIDDEN', `the role ${principal.role} may not do this`);
  if (policy.scope !== null && principal.scopes !== null && !principal.scopes.includes(policy.scope)) {
    throw new TriggerFsError('TFS_FORBIDDEN', `the API token lacks the scope ${policy.scope}`);
  }
}
