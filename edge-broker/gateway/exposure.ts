import { HTTP_DEFAULTS, type HttpSettings } from '../../protocol/http/gateway.ts';
import type { Directory } from '../directory/directory.ts';
import type { ServiceConfig } from '../directory/team.ts';
import type { Principal } from '../session/session.ts';

/** How services are exposed over HTTP, as far as a caller may know of them. */
export class Exposure {
  readonly #directory: Directory;

  constructor(directory: Directory) {
    this.#directory = directory;
  }

  /** A service by address; null when there is none. */
  find(team: string, service: string): ServiceConfig | null {
    return this.#directory.teamNamed(team)?.services.get(service.toLowerCase()) ?? null;
  }

  /** A service of a hook. */
  byKey(teamId: number, key: string): ServiceConfig | null {
    for (const service of this.#directory.team(teamId)?.services.values() ?? []) if (service.key === key) return service;
    return null;
  }

  /** The settings of a service that the caller sees; those of a new one otherwise, so that what is hidden looks like what is not there. */
  settings(team: string, service: string, principal: Principal): HttpSettings {
    const config = this.find(team, service);
    if (config === null) return HTTP_DEFAULTS;
    const home = config.teamId === principal.teamId;
    const seen = home ? config.visibility !== 'local' || config.ownerId === principal.subject : config.visibility === 'public';
    return seen ? config.http : HTTP_DEFAULTS;
  }
}
