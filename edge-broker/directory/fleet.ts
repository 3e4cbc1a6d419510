import type { BrokerAddress } from '../../protocol/control.ts';

/** What concerns all teams: brokers, keys and revocations. One consistent snapshot, replaced as a whole. */
export interface FleetConfig {
  readonly version: number;
  readonly brokers: readonly BrokerAddress[];
  /** CURVE public keys that admit a connection, with their end in milliseconds since 1970. */
  readonly channelKeys: ReadonlyMap<string, number>;
  /** PEM public keys that sign tokens, by kid. */
  readonly signingKeys: ReadonlyMap<string, string>;
  /** Ids of sessions that were logged out. */
  readonly revokedSessions: ReadonlySet<string>;
}
