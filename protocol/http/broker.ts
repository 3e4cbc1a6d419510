import { type Static, Type } from 'typebox';
import { Timestamp } from './common.ts';

/** A broker of the fleet as people see it. */
export const BrokerView = Type.Object({
  id: Type.String(),
  endpoint: Type.String(),
  gatewayUrl: Type.Union([Type.String(), Type.Null()]),
  publicKey: Type.String(),
  region: Type.String(),
  state: Type.Union([Type.Literal('up'), Type.Literal('draining'), Type.Literal('down')]),
  startedAt: Timestamp,
  beatAt: Timestamp,
});
export type BrokerView = Static<typeof BrokerView>;
