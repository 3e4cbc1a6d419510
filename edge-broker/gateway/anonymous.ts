import type { Directory } from '../directory/directory.ts';
import { isAnonymous, type ServiceConfig } from '../directory/team.ts';
import type { Bearer } from './bearers.ts';
import type { RateLimits } from './rate-limits.ts';

/** Callers without a token: they reach public services that say so, as often as those say. */
export class AnonymousCallers {
  readonly #directory: Directory;
  readonly #limits: RateLimits;

  constructor(directory: Directory, limits: RateLimits) {
    this.#directory = directory;
    this.#limits = limits;
  }

  /** Who a request without a token speaks for; null when the service needs one. @throws RateLimitedError */
  admit(team: string, service: string, address: string): Bearer | null {
    const config = this.#directory.teamNamed(team)?.services.get(service.toLowerCase());
    if (config === undefined || !isAnonymous(config)) return null;
    this.#limits.take(config, address);
    return this.#bearer(config, 'anonymous', '');
  }

  /** Who a webhook speaks for, once its signature was checked. */
  hook(config: ServiceConfig, hook: string): Bearer {
    return this.#bearer(config, 'hook', hook);
  }

  #bearer(config: ServiceConfig, kind: 'anonymous' | 'hook', identity: string): Bearer {
    return {
      tokenHash: null,
      principal: {
        kind,
        subject: 0,
        teamId: config.teamId,
        team: this.#directory.team(config.teamId)?.name ?? '',
        identity,
        epoch: Number.POSITIVE_INFINITY,
        sessionId: `${kind} ${config.key} ${identity}`,
        scopes: null,
        expiresAt: Number.POSITIVE_INFINITY,
        onlyService: config.key,
      },
    };
  }
}
