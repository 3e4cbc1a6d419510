import { TriggerFsError } from '../../protocol/errors.ts';
import type { SessionResponse } from '../../protocol/http/session.ts';
import type { Config } from '../../runtime/config/index.ts';
import { Credentials } from '../../runtime/credentials.ts';
import type { Environment } from '../../runtime/environment.ts';
import type { Log } from '../../runtime/logging.ts';
import { VERSION } from '../../runtime/version.ts';
import { cacheFolder } from '../cache-folder.ts';
import { LoginCache } from '../login-cache.ts';
import type { CommandLine } from './options.ts';

/** Who logs in. */
export interface Caller {
  readonly env: Environment;
  readonly log: Log;
  /** The program's name. */
  readonly program: string;
  /** A session that was opened otherwise, as by switching the team: it counts instead of a kept one. */
  readonly opened?: SessionResponse;
}

/**
 * Credentials of the configured user that begin with the login of an earlier call when it is still good,
 * and keep each new one for later calls.
 * @throws TriggerFsError TFS_CONFIG when the configuration names nobody
 */
export function logInWithCache(
  config: Config,
  flags: Pick<CommandLine, 'team' | 'identity'>,
  { env, log, program, opened }: Caller,
): Credentials {
  const { api, secret } = config.main;
  const team = flags.team ?? config.main.team;
  const identity = flags.identity ?? config.main.identity;
  for (const [key, value] of Object.entries({ team, identity, secret })) if (value === '') throw missing(key, config.file);
  const folder = config['triggerfs-client'].cache ? cacheFolder(env) : null;
  const cache = folder === null ? null : new LoginCache(folder, { api, team, identity, program, configFile: config.file });
  const session = opened ?? cache?.load() ?? null;
  const method = { kind: 'user', team, identity, secret } as const;
  const agent = `${program}/${VERSION}`;
  const credentials = new Credentials(session === null ? { api, method, log, agent } : { api, method, session, log, agent });
  if (opened !== undefined) cache?.save(opened);
  if (cache !== null) credentials.onRenewed((login) => cache.save(login));
  return credentials;
}

function missing(key: string, file: string | null): TriggerFsError {
  const where = file === null ? 'there is no triggerfs.toml (see -config)' : `${file} has none in [main]`;
  return new TriggerFsError('TFS_CONFIG', `no ${key} to log in with: ${where}`);
}
