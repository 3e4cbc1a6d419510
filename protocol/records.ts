/**
 * Record types of the packed protocol. `protocol/README.md` specifies each; a test keeps both in step.
 * Control records (below 0x20, and CONFIG, ANNOUNCE, PLAN, KEEP, SCHEDULE, SCHEDULES, FIRED) carry JSON; the others have the fixed headers of `Layout`.
 */
export const RecordType = Object.freeze({
  hello: 0x01,
  welcome: 0x02,
  refused: 0x03,
  ping: 0x04,
  pong: 0x05,
  renew: 0x06,
  drain: 0x07,
  brokers: 0x08,
  changed: 0x09,
  bye: 0x0a,
  route: 0x10,
  unroute: 0x11,
  request: 0x20,
  manifest: 0x21,
  worker: 0x22,
  output: 0x23,
  result: 0x24,
  credit: 0x25,
  cancel: 0x26,
  config: 0x30,
  announce: 0x31,
  plan: 0x32,
  unplan: 0x33,
  task: 0x34,
  started: 0x35,
  keep: 0x36,
  schedule: 0x37,
  schedules: 0x38,
  fires: 0x39,
  fired: 0x3a,
});

/** Number of a record type. */
export type RecordTypeNumber = (typeof RecordType)[keyof typeof RecordType];

const NAMES = new Map<number, string>(Object.entries(RecordType).map(([name, number]) => [number, name.toUpperCase()]));

/** Name of a record type for logs and metrics, `0x7f` style for unknown ones. */
export function recordName(type: number): string {
  return NAMES.get(type) ?? `0x${type.toString(16).padStart(2, '0')}`;
}

/** Flag bits of records; a bit means something only for the types named here. */
export const RecordFlag = Object.freeze({
  /** OUTPUT: the data came from standard error. */
  stderr: 0x01,
  /** RESULT: the invocation is done, no further record for this call follows. */
  last: 0x01,
  /** REQUEST: this id may have been executed before; `resumeWorker` names where. */
  resume: 0x01,
  /** REQUEST: the runs go on when the caller's session ends (fire and forget). */
  detached: 0x02,
  /** REQUEST: at most one worker may begin a run of it; when that one is lost, the caller decides what follows, not the broker. */
  once: 0x04,
  /** CANCEL: the deadline passed (instead of the caller giving up). */
  timeout: 0x01,
});

/**
 * Byte offsets inside the body of fixed-header records (little endian; sizes in bytes).
 * REQUEST and TASK, and the two directions of OUTPUT, RESULT and CREDIT, have the same shape on purpose:
 * a broker forwards them by copying the record and overwriting the numbers.
 */
export const Layout = Object.freeze({
  request: { call: 0, route: 4, invocation: 8, timeoutMs: 24, credit: 28, resumeWorker: 32, payload: 36 },
  task: { run: 0, plan: 4, invocation: 8, timeoutMs: 24, credit: 28, attempt: 32, payload: 36 },
  /** `limitMs`: the broker ends the whole invocation this long after it accepted it (serial: one timeout per turn of the window). */
  manifest: { call: 0, algorithm: 4, attempt: 5, expected: 6, limitMs: 8, workers: 12 },
  worker: { worker: 0, name: 4 },
  output: { call: 0, worker: 4, sequence: 8, data: 12 },
  result: { call: 0, worker: 4, durationUs: 8, exitCode: 12, verdict: 14, attempt: 15, signal: 16, error: 18, detail: 20 },
  credit: { call: 0, worker: 4, bytes: 8, end: 12 },
  cancel: { call: 0, end: 4 },
  started: { run: 0, end: 4 },
  ping: { token: 0, end: 8 },
  /** `head`: JSON of `headBytes` bytes; the output of its fires follows, one after another. */
  fires: { upload: 0, headBytes: 4, head: 8 },
});

/** Bytes of an invocation id on the wire: a UUID, version 7. */
export const INVOCATION_ID_BYTES = 16;
