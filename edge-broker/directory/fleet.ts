import type { BrokerAddress } from '../../protocol/control.ts';

/** Maintenance that was announced. */
export interface Maintenance {
  readonly id: number;
  /** Milliseconds since 1970, on this machine's clock. */
  readonly startsAt: number;
}

/** What concerns all teams: brokers, keys, revocations and maintenance. One consistent snapshot, replaced as a whole. */
export interface FleetConfig {
  readonly version: number;
  readonly brokers: readonly BrokerAddress[];
  /** CURVE public keys that admit a connection, with their end in milliseconds since 1970. */
  readonly channelKeys: ReadonlyMap<string, number>;
  /** PEM public keys that sign tokens, by kid. */
  readonly signingKeys: ReadonlyMap<string, string>;
  /** Ids of sessions that were logged out. */
  readonly revokedSessions: ReadonlySet<string>;
  /** Maintenance to come, and what began within the last minute. */
  readonly maintenances: readonly Maintenance[];
}
