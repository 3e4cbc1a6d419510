import { TriggerFsError } from '../../protocol/errors.ts';
import type { Config } from '../../runtime/config/index.ts';
import { Credentials } from '../../runtime/credentials.ts';
import type { Environment } from '../../runtime/environment.ts';
import type { Log } from '../../runtime/logging.ts';
import { cacheFolder } from '../cache-folder.ts';
import { LoginCache } from '../login-cache.ts';
import type { CommandLine } from './options.ts';

/**
 * Credentials of the configured user that begin with the login of an earlier call when it is still good,
 * and keep each new one for later calls.
 * @throws TriggerFsError TFS_CONFIG when the configuration names nobody
 */
export function logInWithCache(config: Config, flags: Pick<CommandLine, 'team' | 'identity'>, env: Environment, log: Log): Credentials {
  const { api, secret } = config.main;
  const team = flags.team ?? config.main.team;
  const identity = flags.identity ?? config.main.identity;
  for (const [key, value] of Object.entries({ team, identity, secret })) if (value === '') throw missing(key, config.file);
  const folder = config['triggerfs-client'].cache ? cacheFolder(env) : null;
  const cache = folder === null ? null : new LoginCache(folder, { api, team, identity, configFile: config.file });
  const session = cache?.load() ?? null;
  const method = { kind: 'user', team, identity, secret } as const;
  const credentials = new Credentials(session === null ? { api, method, log } : { api, method, session, log });
  if (cache !== null) credentials.onRenewed((login) => cache.save(login));
  return credentials;
}

function missing(key: string, file: string | null): TriggerFsError {
  const where = file === null ? 'there is no triggerfs.toml (see -config)' : `${file} has none in [main]`;
  return new TriggerFsError('TFS_CONFIG', `no ${key} to log in with: ${where}`);
}
