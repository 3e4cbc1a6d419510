/**
 * Limits that both ends of a connection keep. Sizes are bytes, times are milliseconds.
 * Brokers announce nothing of these: a peer that breaks one speaks another protocol version.
 */
export const LIMITS = Object.freeze({
  /** Largest payload of one request. Bigger input belongs into a file that the plugin fetches. */
  payloadBytes: 4 * 1024 * 1024,
  /** Largest data part of one OUTPUT record; plugins' output is cut at this size. */
  outputBytes: 64 * 1024,
  /** Largest batch a peer may send: one full payload plus its headers. Sockets enforce it. */
  batchBytes: 4 * 1024 * 1024 + 64 * 1024,
  /** A writer starts a new batch above this size, so that one busy peer does not delay the others. */
  batchTargetBytes: 256 * 1024,
  /** Bytes a peer may send before WELCOME, and the time it has for it. */
  helloBytes: 16 * 1024,
  helloMs: 5_000,
  /** Output bytes a run may send before its reader grants more (see CREDIT). */
  initialCreditBytes: 64 * 1024,
  /** Largest credit that may be outstanding for one run. */
  maxCreditBytes: 1024 * 1024,
  /** A peer pings after this silence; after three times this (plus half) without any traffic it is dead. */
  pingMs: 1_000,
  deadMs: 3_500,
  /** Time between SIGTERM and SIGKILL for the process group of a run. */
  killGraceMs: 5_000,
  /** How long after its deadline a broker waits for a worker's own timeout verdict. */
  deadlineGraceMs: 1_000,
  /** Shortest and longest timeout of an invocation. */
  minTimeoutMs: 1,
  maxTimeoutMs: 7 * 24 * 3_600_000,
  /** Timeout of an invocation when neither the caller, the trigger nor the service sets one. */
  defaultTimeoutMs: 30_000,
  /** Serialized size of an invocation's plugin arguments. */
  argsBytes: 64 * 1024,
});
