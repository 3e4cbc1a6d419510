import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { TriggerFsError } from '../../protocol/errors.ts';

/** The user that plugins run as. */
export interface Account {
  readonly uid: number;
  readonly gid: number;
  readonly home: string;
}

/** What every plugin's process is given: user, folder and environment. */
export interface Sandbox {
  /** Null: the worker's own user. */
  readonly account: Account | null;
  /** Working directory: the home folder of the user, `/` without one. */
  readonly cwd: string;
  readonly environment: Readonly<Record<string, string>>;
}

/** Variables that plugins always inherit; the others must be named in the configuration. */
const INHERITED = ['PATH', 'HOME', 'LANG', 'TZ', 'USER'];

/**
 * Prepares what plugins are given from the worker's configuration.
 * @throws TriggerFsError TFS_CONFIG when `user` is unknown or the worker may not become it
 */
export function createSandbox(options: {
  user: string;
  names: readonly string[];
  inherited: Readonly<Record<string, string | undefined>>;
}): Sandbox {
  const account = options.user === '' ? null : findAccount(options.user);
  if (account !== null && process.getuid?.() !== 0) {
    throw new TriggerFsError('TFS_CONFIG', `workers.user: only a worker started by root can run plugins as ${options.user}`);
  }
  const environment: Record<string, string> = {};
  for (const name of [...INHERITED, ...options.names]) {
    const value = options.inherited[name];
    if (value !== undefined) environment[name] = value;
  }
  if (account !== null) Object.assign(environment, { HOME: account.home, USER: options.user });
  const home = environment.HOME;
  return { account, cwd: home !== undefined && existsSync(home) ? home : '/', environment };
}

/** `uid` and `gid` for a spawn; nothing for the worker's own user. */
export function spawnIdentity(sandbox: Sandbox): { uid?: number; gid?: number } {
  return sandbox.account === null ? {} : { uid: sandbox.account.uid, gid: sandbox.account.gid };
}

function findAccount(user: string): Account {
  const line = passwdLines()
    .concat(directoryLine(user))
    .find((candidate) => candidate.startsWith(`${user}:`));
  if (line === undefined) throw new TriggerFsError('TFS_CONFIG', `workers.user: there is no user ${user} on this machine`);
  const [, , uid, gid, , home] = line.split(':');
  return { uid: Number(uid), gid: Number(gid), home: home ?? '/' };
}

function passwdLines(): string[] {
  try {
    return readFileSync('/etc/passwd', 'utf8').split('\n');
  } catch {
    return [];
  }
}

/** Users of a directory service are not in /etc/passwd; getent asks all of them. */
function directoryLine(user: string): string[] {
  try {
    return [execFileSync('getent', ['passwd', '--', user], { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim()];
  } catch {
    return [];
  }
}
