import { TriggerFsError } from '../protocol/errors.ts';
import { formatHelp, parseArguments } from '../runtime/arguments.ts';
import { loadConfig } from '../runtime/config/index.ts';
import { environment } from '../runtime/environment.ts';
import { exitWith } from '../runtime/exit.ts';
import { runUntilSignal } from '../runtime/lifecycle.ts';
import { createLogger } from '../runtime/logging.ts';
import { awaitDatabase, startError, waitOf } from '../runtime/postgres/await-database.ts';
import { startBroker } from './broker.ts';

const OPTIONS = {
  config: { kind: 'value', value: 'FILE', doc: 'configuration file (triggerfs.toml)' },
  debug: { kind: 'flag', doc: 'log sessions and configuration changes too' },
  wait: { kind: 'value', value: 'DURATION', doc: 'how long to wait for the database and its schema; default 60s' },
  json: { kind: 'flag', doc: 'print a ready line as JSON on standard output, and log JSON' },
  help: { kind: 'flag', doc: 'show this help' },
} as const;

/** The `triggerfs-broker` program. */
export async function main(argv: readonly string[]): Promise<void> {
  try {
    const { options } = parseArguments(OPTIONS, argv);
    if (options.help) {
      process.stdout.write(formatHelp('triggerfs-broker [options]: routes requests to workers', OPTIONS));
      return;
    }
    const waitMs = waitOf(options.wait);
    const env = environment();
    const config = loadConfig(env, options.config);
    const databaseUrl = config.broker.database || env.databaseUrl;
    if (databaseUrl === undefined) throw new TriggerFsError('TFS_CONFIG', 'no database: set [broker] database or DATABASE_URL');
    const level = options.debug ? 'debug' : (env.logLevel ?? 'info');
    const log = createLogger({ name: 'triggerfs-broker', level, format: options.json ? 'json' : config.main.log_format });
    await awaitDatabase({ url: databaseUrl, role: 'triggerfs_edge', waitMs, log });
    const onMaintenance = (): void => {
      log.info('announced maintenance begins: draining, then starting again when supervised');
      process.kill(process.pid, 'SIGTERM');
    };
    const broker = await startBroker({ config, databaseUrl, log, onMaintenance });
    runUntilSignal({ log, stop: broker.stop, limitMs: config.broker.drain + 10_000, withParent: true });
    if (options.json) process.stdout.write(`${JSON.stringify({ event: 'ready', broker: broker.endpoint, gateway: broker.gatewayUrl })}\n`);
  } catch (error) {
    exitWith('triggerfs-broker', startError(error));
  }
}
