import { TriggerFsError } from '../../protocol/errors.ts';
import { type Claims, TokenVerifier } from '../../runtime/tokens.ts';
import type { Directory } from '../directory/directory.ts';
import type { Principal } from './session.ts';

/**
 * Turns tokens into principals: the signature and the claims first, then what the directory knows about revocation.
 * Needs no database, so sessions open also while that is down.
 */
export class Authenticator {
  readonly #directory: Directory;
  readonly #verifier = new TokenVerifier('triggerfs-edge');
  readonly #unknown: () => void;

  /** `unknown` is called when a token names a key or principal that the directory does not know (yet): time to read it again. */
  constructor(directory: Directory, unknown: () => void) {
    this.#directory = directory;
    this.#unknown = unknown;
    directory.onChange((teamId) => {
      if (teamId === 0) this.#verifier.update(directory.fleet.signingKeys);
    });
  }

  /** @throws TriggerFsError TFS_UNAUTHENTICATED (a new login may help) or TFS_REVOKED (it may not) */
  authenticate(token: string): Principal {
    if (this.#verifier.hasUnknownKey(token)) this.#unknown();
    const principal = principalOf(this.#verifier.verify(token));
    if (!this.#known(principal)) {
      this.#unknown();
      throw new TriggerFsError('TFS_UNAUTHENTICATED', `${principal.identity} is not known in team ${principal.team}`);
    }
    const reason = this.revoked(principal);
    if (reason !== null) throw new TriggerFsError('TFS_REVOKED', reason);
    return principal;
  }

  /** Why a principal's rights have ended before their time, or null. */
  revoked(principal: Principal): string | null {
    if (this.#directory.fleet.revokedSessions.has(principal.sessionId)) return 'the session was logged out';
    const team = this.#directory.team(principal.teamId);
    if (team === undefined) return `team ${principal.team} does not exist any more`;
    // What they may reach is looked up with each change of the configuration.
    if (principal.kind === 'system' || principal.onlyService !== null) return null;
    if (principal.kind === 'worker') {
      const worker = team.workers.get(principal.subject);
      if (worker === undefined) return `worker ${principal.identity} was deleted`;
      return worker.epoch > principal.epoch ? `the token of worker ${principal.identity} was changed` : null;
    }
    const member = team.members.get(principal.subject);
    if (member === undefined || !member.active) return `${principal.identity} is no member of team ${principal.team} any more`;
    return member.epoch > principal.epoch ? `the logins of ${principal.identity} were revoked` : null;
  }

  #known(principal: Principal): boolean {
    const team = this.#directory.team(principal.teamId);
    if (team === undefined || principal.kind === 'system') return team !== undefined;
    return (principal.kind === 'worker' ? team.workers : team.members).has(principal.subject);
  }
}

function principalOf(claims: Claims): Principal {
  return {
    kind: claims.kind,
    subject: Number(claims.sub),
    teamId: claims.team,
    team: claims.teamName,
    identity: claims.identity,
    epoch: claims.epoch,
    sessionId: claims.sid,
    scopes: claims.scopes ?? null,
    expiresAt: claims.exp,
    onlyService: null,
  };
}
