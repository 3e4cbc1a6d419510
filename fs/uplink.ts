import type { CallHandlers, RouteRule, SendOptions } from '../client/index.ts';

/** A rule in use: requests go out in the order of `send`. */
export interface UplinkRoute {
  send(payload: Buffer, handlers: CallHandlers, options: SendOptions): unknown;
  close(): void;
}

/** What the sender needs of the connection to the brokers. */
export interface Uplink {
  /** A broker can be reached now. */
  readonly connected: boolean;
  /** Rises when earlier routes are void. */
  readonly epoch: number;
  route(rule: RouteRule): UplinkRoute;
}
