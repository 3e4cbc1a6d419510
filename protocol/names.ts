/** Names of teams, users, workers and services: letters, digits, `-`, `_`, `.`; 1 to 63 characters; no leading dot or dash. */
export const NAME_PATTERN = '^[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}$';

/** Plugin names: `NAME` or `NAME/NAME`, lower case, so that they are the same on every file system. */
export const PLUGIN_PATTERN = '^[a-z0-9][a-z0-9_-]{0,62}(/[a-z0-9][a-z0-9_-]{0,62})?$';

/** Names of plugin arguments, as in `-args key=value`. */
export const ARGUMENT_PATTERN = '^[A-Za-z_][A-Za-z0-9_.-]{0,62}$';

/** One segment of a path in the file tree: no slash, no control characters, at most 255 bytes of UTF-8. */
export const PATH_SEGMENT_PATTERN = '^[A-Za-z0-9_@%+=:, ~-][A-Za-z0-9_@%+=:,. ~-]{0,254}$';

/** Longest absolute path in the file tree. */
export const MAX_PATH_LENGTH = 1024;

const NAME = new RegExp(NAME_PATTERN);
const PLUGIN = new RegExp(PLUGIN_PATTERN);
const ARGUMENT = new RegExp(ARGUMENT_PATTERN);
const SEGMENT = new RegExp(PATH_SEGMENT_PATTERN);

/** Whether a text may be the name of a team, user, worker or service. */
export function isName(text: string): boolean {
  return NAME.test(text);
}

/** Whether a text may be the name of a plugin; excludes every path trick because it allows no dots. */
export function isPluginName(text: string): boolean {
  return PLUGIN.test(text);
}

/** Whether a text may be the name of a plugin argument. */
export function isArgumentName(text: string): boolean {
  return ARGUMENT.test(text);
}

/** Whether a text is an absolute, normalized path in the file tree, such as `/demo/command`. */
export function isTreePath(path: string): boolean {
  if (!path.startsWith('/') || path.length > MAX_PATH_LENGTH) return false;
  return (
    path === '/' ||
    path
      .slice(1)
      .split('/')
      .every((segment) => SEGMENT.test(segment))
  );
}

/** A service address as callers write it: `service`, or `team/service` for another team's. */
export interface ServiceAddress {
  readonly team: string | null;
  readonly service: string;
}

/** Parses a service address; null when it is not one. */
export function parseServiceAddress(text: string): ServiceAddress | null {
  const parts = text.split('/');
  if (parts.length > 2 || !parts.every(isName)) return null;
  const [first, second] = parts as [string, string?];
  return second === undefined ? { team: null, service: first } : { team: first, service: second };
}
