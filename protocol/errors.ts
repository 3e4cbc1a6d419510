/** What is known about an error code, wherever the error happens. */
export interface ErrorDefinition {
  /** Number on the wire (u16, RESULT records). Never reused. */
  readonly number: number;
  /** HTTP status of an answer with this error. */
  readonly status: number;
  /** Exit code of a program that ends because of it (sysexits.h style; see docs/errors.md). */
  readonly exitCode: number;
  /** Whether the same request may succeed later without any change. */
  readonly retryable: boolean;
  /** What a person can do about it. */
  readonly hint: string;
}

/** The one registry of error codes; docs/errors.md lists the same (tested). */
export const ERRORS = Object.freeze({
  TFS_USAGE: { number: 1, status: 400, exitCode: 64, retryable: false, hint: 'See the program’s -help.' },
  TFS_CONFIG: { number: 2, status: 500, exitCode: 78, retryable: false, hint: 'Correct the named file and line.' },
  TFS_INTERNAL: {
    number: 3,
    status: 500,
    exitCode: 70,
    retryable: true,
    hint: 'Look into the log of the process that answered; please report it.',
  },
  TFS_UNAVAILABLE: {
    number: 4,
    status: 503,
    exitCode: 69,
    retryable: true,
    hint: 'The database or a needed part is down; it is tried again by itself.',
  },
  TFS_BAD_REQUEST: {
    number: 10,
    status: 400,
    exitCode: 65,
    retryable: false,
    hint: 'Compare the request with the API description at /openapi.json.',
  },
  TFS_BAD_JSON: { number: 11, status: 400, exitCode: 65, retryable: false, hint: 'Send a valid JSON object.' },
  TFS_TOO_LARGE: {
    number: 12,
    status: 413,
    exitCode: 65,
    retryable: false,
    hint: 'Send less, or pass a reference that the plugin fetches.',
  },
  TFS_BAD_TIMEOUT: {
    number: 13,
    status: 400,
    exitCode: 64,
    retryable: false,
    hint: 'Write a positive duration such as 500ms, 10s or 5m, at most 7d.',
  },
  TFS_BAD_NAME: { number: 14, status: 400, exitCode: 64, retryable: false, hint: 'Use letters, digits, dot, dash and underscore.' },
  TFS_UNSUPPORTED_MEDIA: {
    number: 15,
    status: 415,
    exitCode: 65,
    retryable: false,
    hint: 'Send what the detail names; any content type goes with plugin and args in the query.',
  },
  TFS_RANGE: { number: 16, status: 416, exitCode: 65, retryable: false, hint: 'Ask for bytes below the size named in Content-Range.' },
  TFS_METHOD: { number: 17, status: 405, exitCode: 64, retryable: false, hint: 'Use one of the methods named in Allow.' },
  TFS_UNAUTHENTICATED: { number: 20, status: 401, exitCode: 77, retryable: false, hint: 'Log in again, or check the token.' },
  TFS_BAD_CREDENTIALS: {
    number: 21,
    status: 401,
    exitCode: 77,
    retryable: false,
    hint: 'Check team, identity and secret in triggerfs.toml.',
  },
  TFS_FORBIDDEN: { number: 22, status: 403, exitCode: 77, retryable: false, hint: 'Ask an owner or admin of the team for the right.' },
  TFS_WRONG_TEAM: {
    number: 23,
    status: 403,
    exitCode: 77,
    retryable: false,
    hint: 'Log in to that team, or ask it to make the service public.',
  },
  TFS_REVOKED: { number: 24, status: 401, exitCode: 77, retryable: false, hint: 'The session or token was revoked; log in again.' },
  TFS_RATE_LIMITED: { number: 25, status: 429, exitCode: 75, retryable: true, hint: 'Wait for the time named in Retry-After.' },
  TFS_BAD_SIGNATURE: {
    number: 26,
    status: 401,
    exitCode: 77,
    retryable: false,
    hint: 'Compare address, scheme and secret of the webhook on both sides, and their clocks.',
  },
  TFS_UNKNOWN_TEAM: { number: 30, status: 404, exitCode: 67, retryable: false, hint: 'Check the name of the team.' },
  TFS_UNKNOWN_SERVICE: {
    number: 31,
    status: 404,
    exitCode: 68,
    retryable: false,
    hint: 'See `show services`; a worker’s identity is a service too.',
  },
  TFS_UNKNOWN_PLUGIN: { number: 32, status: 404, exitCode: 68, retryable: false, hint: 'Install the plugin in the worker’s pluginspath.' },
  TFS_PLUGIN_NOT_ALLOWED: {
    number: 33,
    status: 403,
    exitCode: 77,
    retryable: false,
    hint: 'Allow it in the service’s plugins and in the worker’s configuration.',
  },
  TFS_NOT_FOUND: { number: 34, status: 404, exitCode: 66, retryable: false, hint: 'Check the name; see the matching `show` command.' },
  TFS_CONFLICT: { number: 35, status: 409, exitCode: 73, retryable: false, hint: 'It exists already, or is still in use.' },
  TFS_LIMIT: { number: 36, status: 409, exitCode: 73, retryable: false, hint: 'The team’s plan does not allow more.' },
  TFS_BAD_ARGUMENT: {
    number: 37,
    status: 400,
    exitCode: 64,
    retryable: false,
    hint: 'Compare the arguments with the plugin’s description.',
  },
  TFS_NOT_KEPT: {
    number: 38,
    status: 409,
    exitCode: 66,
    retryable: false,
    hint: 'Set `history output` for the service or its trigger file; it holds for what comes after.',
  },
  TFS_NO_WORKER: {
    number: 40,
    status: 503,
    exitCode: 69,
    retryable: true,
    hint: 'Start a worker of this service, or attach one that is online.',
  },
  TFS_NO_BROKER: {
    number: 41,
    status: 503,
    exitCode: 69,
    retryable: true,
    hint: 'Check that a broker runs and that its port is reachable from here.',
  },
  TFS_BUSY: {
    number: 42,
    status: 503,
    exitCode: 75,
    retryable: true,
    hint: 'All workers are busy and the queue is full; try again or raise queue_limit.',
  },
  TFS_TIMEOUT: {
    number: 43,
    status: 504,
    exitCode: 124,
    retryable: false,
    hint: 'The plugin did not finish in time; raise the timeout or look at its output.',
  },
  TFS_CANCELLED: { number: 44, status: 499, exitCode: 130, retryable: false, hint: 'The caller gave up.' },
  TFS_WORKER_LOST: {
    number: 45,
    status: 502,
    exitCode: 69,
    retryable: true,
    hint: 'The worker vanished during the run; it may have done its work or not.',
  },
  TFS_EXPIRED: { number: 46, status: 504, exitCode: 75, retryable: false, hint: 'It waited longer than its max_age.' },
  TFS_DRAINING: {
    number: 47,
    status: 503,
    exitCode: 75,
    retryable: true,
    hint: 'This broker is shutting down; another one takes the request.',
  },
  TFS_BROKER_LOST: {
    number: 48,
    status: 502,
    exitCode: 69,
    retryable: true,
    hint: 'The connection to the broker broke during the run; it may have finished or not.',
  },
  TFS_PLUGIN_FAILED: {
    number: 49,
    status: 502,
    exitCode: 70,
    retryable: false,
    hint: 'The plugin could not be started; see the detail and the worker’s log.',
  },
  TFS_PROTOCOL: { number: 50, status: 400, exitCode: 76, retryable: false, hint: 'The peer does not follow the protocol; update it.' },
  TFS_DATABASE_NEWER: {
    number: 60,
    status: 503,
    exitCode: 57,
    retryable: false,
    hint: 'The database was migrated by a newer triggerFS; update this one.',
  },
  TFS_MIGRATION: {
    number: 61,
    status: 500,
    exitCode: 78,
    retryable: false,
    hint: 'Restore the edited migration file; migrations are never changed once applied.',
  },
  TFS_MOUNT: {
    number: 62,
    status: 500,
    exitCode: 71,
    retryable: false,
    hint: 'Check /dev/fuse, the mount point and, if not root, that fusermount is installed.',
  },
  TFS_SPOOL_FULL: {
    number: 63,
    status: 507,
    exitCode: 74,
    retryable: true,
    hint: 'Start a broker so that the spool drains, raise spool_limit, or make room on its disk.',
  },
  TFS_OUTPUT: {
    number: 64,
    status: 500,
    exitCode: 74,
    retryable: false,
    hint: 'Check the disk or the program that the output goes to.',
  },
  TFS_SEALED: {
    number: 65,
    status: 500,
    exitCode: 78,
    retryable: false,
    hint: 'The master key or the team’s data key is missing, or the row was changed; see the master key in docs/operations.md.',
  },
} satisfies Record<string, ErrorDefinition>);

/** A code of the registry. */
export type ErrorCode = keyof typeof ERRORS;

const BY_NUMBER = new Map<number, ErrorCode>(Object.entries(ERRORS).map(([code, definition]) => [definition.number, code as ErrorCode]));

/** Code for a number on the wire; numbers of a newer peer read as TFS_INTERNAL. 0 means no error and reads as null. */
export function errorCode(number: number): ErrorCode | null {
  if (number === 0) return null;
  return BY_NUMBER.get(number) ?? 'TFS_INTERNAL';
}

/**
 * The one error class that crosses process borders. The message says what happened and with which value;
 * the registry adds status, exit code and hint.
 */
export class TriggerFsError extends Error {
  override name = 'TriggerFsError';
  readonly code: ErrorCode;

  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }

  /** What the registry knows about this error's code. */
  get definition(): ErrorDefinition {
    return ERRORS[this.code];
  }

  /** Wraps anything thrown: a TriggerFsError stays itself, everything else becomes TFS_INTERNAL with the cause kept. */
  static from(thrown: unknown): TriggerFsError {
    if (thrown instanceof TriggerFsError) return thrown;
    const message = thrown instanceof Error ? thrown.message : String(thrown);
    return new TriggerFsError('TFS_INTERNAL', message, { cause: thrown });
  }
}
