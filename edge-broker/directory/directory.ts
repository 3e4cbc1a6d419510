import type { Pool } from 'pg';
import { TriggerFsError } from '../../protocol/errors.ts';
import { LIMITS } from '../../protocol/limits.ts';
import type { ServiceAddress } from '../../protocol/names.ts';
import type { Logger } from '../../runtime/logging.ts';
import type { FleetConfig } from './fleet.ts';
import { loadFleet, loadTeam, loadVersions } from './loader.ts';
import type { ServiceConfig, TeamConfig } from './team.ts';

const FLEET = 0;

/** Called after a team (or the fleet, id 0) has been replaced or removed. */
export type DirectoryListener = (teamId: number, version: number) => void;

/**
 * The configuration that routing needs, in memory. PostgreSQL is the truth; this is the newest consistent copy,
 * and stays in use when the database is down. Readers get immutable snapshots, so a request never sees half a change.
 */
export class Directory {
  readonly #pool: Pool;
  readonly #log: Logger;
  readonly #teams = new Map<number, TeamConfig>();
  readonly #teamsByName = new Map<string, TeamConfig>();
  readonly #tokens = new Map<string, TeamConfig>();
  readonly #listeners: DirectoryListener[] = [];
  #fleet: FleetConfig = {
    version: 0,
    brokers: [],
    channelKeys: new Map(),
    signingKeys: new Map(),
    revokedSessions: new Set(),
    maintenances: [],
  };
  #generation = 1;
  #syncing: Promise<void> | null = null;
  #again = false;

  constructor(pool: Pool, log: Logger) {
    this.#pool = pool;
    this.#log = log;
  }

  /** Rises with every change; what was derived from the directory is good for one generation. */
  get generation(): number {
    return this.#generation;
  }

  /** Brokers, keys and revocations. */
  get fleet(): FleetConfig {
    return this.#fleet;
  }

  /** A team by id. */
  team(id: number): TeamConfig | undefined {
    return this.#teams.get(id);
  }

  /** A team by name, without regard to case. */
  teamNamed(name: string): TeamConfig | undefined {
    return this.#teamsByName.get(name.toLowerCase());
  }

  /** The team an API token (hex SHA-256) belongs to. */
  teamOfToken(hash: string): TeamConfig | undefined {
    return this.#tokens.get(hash);
  }

  /** A service or worker by address, seen from a team. @throws TriggerFsError TFS_UNKNOWN_TEAM, TFS_UNKNOWN_SERVICE */
  service(address: ServiceAddress, fromTeam: number): ServiceConfig {
    const team = address.team === null ? this.#teams.get(fromTeam) : this.teamNamed(address.team);
    if (team === undefined) throw new TriggerFsError('TFS_UNKNOWN_TEAM', `team ${address.team ?? fromTeam} does not exist`);
    const service = team.services.get(address.service.toLowerCase());
    if (service === undefined)
      throw new TriggerFsError('TFS_UNKNOWN_SERVICE', `service ${address.service} does not exist in team ${team.name}`);
    return service;
  }

  /** All teams. */
  teams(): Iterable<TeamConfig> {
    return this.#teams.values();
  }

  /** Registers a listener for changes. */
  onChange(listener: DirectoryListener): void {
    this.#listeners.push(listener);
  }

  /**
   * Compares versions with the database and reloads what differs. Calls during a run lead to one more run,
   * so that after it resolves everything that was committed before the call is known.
   * @throws whatever the database client throws; the old state stays in use
   */
  sync(): Promise<void> {
    if (this.#syncing !== null) {
      this.#again = true;
      return this.#syncing;
    }
    this.#syncing = this.#syncLoop().finally(() => {
      this.#syncing = null;
    });
    return this.#syncing;
  }

  async #syncLoop(): Promise<void> {
    do {
      this.#again = false;
      await this.#syncOnce();
    } while (this.#again);
  }

  async #syncOnce(): Promise<void> {
    const versions = await loadVersions(this.#pool);
    if (versions.get(FLEET) !== this.#fleet.version) {
      this.#fleet = await loadFleet(this.#pool);
      this.#changed(FLEET, this.#fleet.version);
    }
    for (const [teamId, version] of versions) {
      if (teamId !== FLEET && this.#teams.get(teamId)?.version !== version) await this.#reload(teamId, version);
    }
  }

  async #reload(teamId: number, version: number): Promise<void> {
    const team = await loadTeam(this.#pool, teamId);
    const old = this.#teams.get(teamId);
    if (team === null && old === undefined) return;
    if (old !== undefined) {
      this.#teams.delete(teamId);
      this.#teamsByName.delete(old.name.toLowerCase());
      for (const hash of old.apiTokens.keys()) this.#tokens.delete(hash);
    }
    if (team !== null) {
      this.#teams.set(teamId, team);
      this.#teamsByName.set(team.name.toLowerCase(), team);
      for (const hash of team.apiTokens.keys()) this.#tokens.set(hash, team);
    }
    this.#log.debug(`configuration of team ${team?.name ?? teamId} is at version ${team?.version ?? version}`);
    this.#changed(teamId, team?.version ?? version);
  }

  #changed(teamId: number, version: number): void {
    this.#generation += 1;
    for (const listener of this.#listeners) listener(teamId, version);
  }
}

/** Time limit of an invocation: the caller's wish, or the service's, within the protocol's bounds. */
export function timeoutOf(service: ServiceConfig, wantedMs: number): number {
  const timeout = wantedMs === 0 ? service.timeoutMs : wantedMs;
  return Math.min(Math.max(timeout, LIMITS.minTimeoutMs), LIMITS.maxTimeoutMs);
}
