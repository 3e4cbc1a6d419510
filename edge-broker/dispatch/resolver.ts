import { type ErrorCode, TriggerFsError } from '../../protocol/errors.ts';
import { isArgumentName, isPluginName, parseServiceAddress } from '../../protocol/names.ts';
import type { Directory } from '../directory/directory.ts';
import { isAnonymous, type ServiceConfig, type TeamConfig } from '../directory/team.ts';
import { historyRule } from '../history/history-rule.ts';
import type { Principal } from '../session/session.ts';
import type { RouteEntry, RouteTarget } from './route-entry.ts';
import { ServiceState } from './service-state.ts';

/**
 * Turns a route into a service that its caller may use, or into the reason why not.
 * What another team does not offer to the public looks the same whether it exists or not.
 */
export class Resolver {
  readonly #directory: Directory;
  readonly #states = new Map<string, ServiceState>();

  constructor(directory: Directory) {
    this.#directory = directory;
  }

  /** Resolves a route; never throws for what callers send. */
  readonly resolve = (entry: RouteEntry): RouteTarget => {
    try {
      const home = this.#home(entry.principal);
      const service = this.#admit(entry, home);
      return { service: this.#state(service), denied: null, history: historyRule(entry, service, home) };
    } catch (error) {
      const { code, message } = TriggerFsError.from(error);
      return { service: null, denied: { code, message } };
    }
  };

  /** Takes over a changed configuration; returns the states of services that are gone. */
  refresh(teamId: number): ServiceState[] {
    const current = new Map<string, ServiceConfig>();
    for (const config of this.#directory.team(teamId)?.services.values() ?? []) current.set(config.key, config);
    const gone: ServiceState[] = [];
    for (const [key, state] of this.#states) {
      if (state.config.teamId !== teamId) continue;
      const config = current.get(key);
      if (config !== undefined) state.config = config;
      else if (this.#states.delete(key)) gone.push(state);
    }
    return gone;
  }

  #state(config: ServiceConfig): ServiceState {
    let state = this.#states.get(config.key);
    if (state === undefined) {
      state = new ServiceState(config);
      this.#states.set(config.key, state);
    }
    return state;
  }

  #admit(entry: RouteEntry, home: TeamConfig): ServiceConfig {
    const { principal } = entry;
    const address = parseServiceAddress(entry.service);
    if (address === null) throw new TriggerFsError('TFS_BAD_NAME', `${quote(entry.service)} is not the name of a service`);
    if (!isPluginName(entry.plugin)) throw new TriggerFsError('TFS_BAD_NAME', `${quote(entry.plugin)} is not the name of a plugin`);
    for (const name of Object.keys(entry.args)) {
      if (!isArgumentName(name)) throw new TriggerFsError('TFS_BAD_ARGUMENT', `${quote(name)} is not the name of an argument`);
    }
    const foreign = address.team !== null && address.team.toLowerCase() !== home.name.toLowerCase();
    const service = foreign ? this.#publicService(address.team, address.service) : this.#ownService(address.service, home, principal);
    if (service.plugins !== null && !service.plugins.has(entry.plugin)) {
      throw new TriggerFsError('TFS_PLUGIN_NOT_ALLOWED', `service ${service.name} does not allow plugin ${entry.plugin}`);
    }
    return service;
  }

  /** The caller's team, after a look at whether the caller may call at all. */
  #home(principal: Principal): TeamConfig {
    const home = this.#directory.team(principal.teamId);
    // Whose invocation it is was checked when it was accepted; what has become of them since does not take it back.
    if ((principal.kind === 'system' || principal.onlyService !== null) && home !== undefined) return home;
    const member = home?.members.get(principal.subject);
    if (home === undefined || member === undefined)
      deny('TFS_FORBIDDEN', `${principal.identity} is no member of team ${principal.team} any more`);
    if (member.role === 'viewer') deny('TFS_FORBIDDEN', `${principal.identity} may view team ${home.name}, but not call its services`);
    if (principal.scopes !== null && !principal.scopes.includes('invoke')) deny('TFS_FORBIDDEN', 'the API token has no scope invoke');
    return home;
  }

  #ownService(name: string, home: TeamConfig, principal: Principal): ServiceConfig {
    const service = this.#directory.service({ team: null, service: name }, home.id);
    if (principal.onlyService !== null) return assertReached(service, principal);
    if (service.visibility === 'local' && service.ownerId !== principal.subject && principal.kind !== 'system') {
      deny('TFS_UNKNOWN_SERVICE', `service ${name} does not exist in team ${home.name}`);
    }
    return service;
  }

  #publicService(team: string, name: string): ServiceConfig {
    const service = this.#directory.teamNamed(team)?.services.get(name.toLowerCase());
    if (service?.visibility !== 'public') deny('TFS_WRONG_TEAM', `team ${team} offers no public service ${name}`);
    return service;
  }
}

/** Who came without a token reaches one service, and that only for as long as it is open to them. */
function assertReached(service: ServiceConfig, { kind, onlyService }: Principal): ServiceConfig {
  if (service.key !== onlyService || (kind === 'anonymous' && !isAnonymous(service)))
    deny('TFS_UNAUTHENTICATED', `service ${service.name} needs a token`);
  return service;
}

function deny(code: ErrorCode, message: string): never {
  throw new TriggerFsError(code, message);
}

function quote(text: string): string {
  return JSON.stringify(text.slice(0, 64));
}
