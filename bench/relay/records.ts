/**
 * The bare packed relay: the upper bound for a relay on this machine. Client, broker and worker exchange packed batches
 * of protocol/batch.ts over plain ROUTER and DEALER sockets, with no CURVE, session, token, route, deadline or plugin.
 */
export const RelayRecord = Object.freeze({
  /** Worker to broker: I am the worker. */
  hello: 0x01,
  /** u32 call, payload. */
  request: 0x02,
  /** u32 call, payload. */
  answer: 0x03,
});

/** Bytes before the payload. */
export const CALL_BYTES = 4;
