import { ERRORS, type ErrorCode, TriggerFsError } from '../../protocol/errors.ts';

/** The parts of an error of node-postgres that are looked at. */
interface DatabaseError {
  readonly message: string;
  readonly code?: string;
  readonly constraint?: string;
  readonly detail?: string;
  readonly hint?: string;
}

/** What breaking a named constraint means; messages of our own triggers (`null`) are shown as they are. */
const CONSTRAINTS: Readonly<Record<string, readonly [ErrorCode, string | null]>> = {
  service_namespace: ['TFS_CONFLICT', null],
  tree_path: ['TFS_CONFLICT', null],
  directories_parent: ['TFS_NOT_FOUND', null],
  directories_empty: ['TFS_CONFLICT', null],
  services_public_needs_plugins: ['TFS_CONFLICT', 'a public service needs a list of the plugins that may be called'],
  services_anonymous_is_public: [
    'TFS_CONFLICT',
    'a service that needs no token has to be public, with a list of the plugins that may be called',
  ],
  hooks_name: ['TFS_CONFLICT', 'another service of the team has a hook of this name'],
  teams_name: ['TFS_CONFLICT', 'a team with this name exists already'],
  users_identity: ['TFS_CONFLICT', 'a user with this identity exists already'],
  users_email: ['TFS_CONFLICT', 'a user with this email address exists already'],
  memberships_pkey: ['TFS_CONFLICT', 'the user is a member of the team already'],
  workers_identity: ['TFS_CONFLICT', 'a worker with this identity exists already'],
  services_name: ['TFS_CONFLICT', 'a service with this name exists already'],
  service_members_pkey: ['TFS_CONFLICT', 'the worker is attached to the service already'],
  directories_team_id_path_key: ['TFS_CONFLICT', 'a directory with this path exists already'],
  triggers_team_id_directory_id_name_key: ['TFS_CONFLICT', 'a trigger with this path exists already'],
  triggers_team_id_directory_id_fkey: ['TFS_CONFLICT', 'the directory is not empty'],
  schedules_name: ['TFS_CONFLICT', 'a schedule with this name exists already'],
  schedules_timezone: ['TFS_BAD_REQUEST', null],
  schedules_trigger: ['TFS_NOT_FOUND', null],
  schedules_resident: ['TFS_NOT_FOUND', null],
  schedules_one_rule: ['TFS_BAD_REQUEST', 'a schedule has one of cron, every and run_at'],
  schedules_one_target: ['TFS_BAD_REQUEST', 'a schedule has a trigger, or a service with a plugin'],
  invites_user: ['TFS_CONFLICT', 'the user is invited already'],
  invites_email: ['TFS_CONFLICT', 'the mail address is invited already'],
  api_tokens_team_id_name_key: ['TFS_CONFLICT', 'a token with this name exists already'],
};

const CONNECTION_CODES = new Set(['ECONNREFUSED', 'ECONNRESET', 'EPIPE', 'ETIMEDOUT', 'ENOTFOUND', 'EHOSTUNREACH', 'EAI_AGAIN']);
/** Client-side ends of a connection, which node-postgres tells only by their text. */
const CONNECTION_TEXT =
  /timeout exceeded when trying to connect|Connection terminated|Query read timeout|Client has encountered a connection error|not queryable/;
/** SQLSTATE that the triggers of plans raise; their message is for the caller. */
const PLAN_LIMIT = 'TF001';
/** SQLSTATE that definer functions raise with the code of the error as hint. */
const REFUSED = 'TF010';
/** Connection lost, shutting down, starting up, too many connections, cancelled by timeout, deadlock, serialization. */
const UNAVAILABLE_STATES = /^(08|57P0|53|57014|40P01|40001|25P03|55P03)/;

/** Our error for one of the database; null when it is none that callers can cause or wait out. */
export function fromDatabase(thrown: unknown): TriggerFsError | null {
  if (!(thrown instanceof Error)) return null;
  const error = thrown as DatabaseError;
  const wrap = (code: ErrorCode, message: string): TriggerFsError => new TriggerFsError(code, message, { cause: thrown });
  const state = error.code ?? '';
  if (CONNECTION_CODES.has(state) || CONNECTION_TEXT.test(error.message) || UNAVAILABLE_STATES.test(state)) {
    return wrap('TFS_UNAVAILABLE', 'the database is not available at the moment');
  }
  if (state === PLAN_LIMIT) return wrap('TFS_LIMIT', error.message);
  if (state === REFUSED && error.hint !== undefined && isErrorCode(error.hint)) return wrap(error.hint, error.message);
  const known = error.constraint === undefined ? undefined : CONSTRAINTS[error.constraint];
  if (known !== undefined) return wrap(known[0], known[1] ?? error.message);
  if (state === '23505') return wrap('TFS_CONFLICT', 'it exists already');
  if (state === '23503') return wrap('TFS_CONFLICT', 'it is still in use, or what it refers to is gone');
  if (state === '23514' || state === '23502')
    return wrap('TFS_BAD_REQUEST', `a value is outside of what ${error.constraint ?? 'the database'} allows`);
  if (state.startsWith('22')) return wrap('TFS_BAD_REQUEST', 'a value cannot be stored');
  return null;
}

function isErrorCode(text: string): text is ErrorCode {
  return Object.hasOwn(ERRORS, text);
}
