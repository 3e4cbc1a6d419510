import { TriggerFsError } from '../protocol/errors.ts';
import { formatHelp, parseArguments } from '../runtime/arguments.ts';
import { loadConfig } from '../runtime/config/index.ts';
import { environment } from '../runtime/environment.ts';
import { exitWith } from '../runtime/exit.ts';
import { runUntilSignal } from '../runtime/lifecycle.ts';
import { createLogger } from '../runtime/logging.ts';
import { awaitDatabase, startError, waitOf } from '../runtime/postgres/await-database.ts';
import { VERSION } from '../runtime/version.ts';
import { startControlPlane } from './server.ts';

const OPTIONS = {
  config: { kind: 'value', value: 'FILE', doc: 'The configuration file.' },
  host: { kind: 'value', value: 'ADDRESS', doc: 'Address to listen on.' },
  port: { kind: 'value', value: 'PORT', doc: 'Port to listen on; 0 takes a free one.' },
  wait: { kind: 'value', value: 'DURATION', doc: 'How long to wait for the database; default 60s.' },
  json: { kind: 'flag', doc: 'Print one JSON object when ready, and log JSON.' },
  version: { kind: 'flag', doc: 'Show the version.' },
  help: { kind: 'flag', doc: 'Show this help.' },
} as const;

const STOP_MS = 9_000;

/** Runs the program `triggerfs-control-plane`; ends the process with the registry's exit code when it cannot start. */
export async function main(argv: readonly string[]): Promise<void> {
  try {
    await start(argv);
  } catch (error) {
    exitWith('triggerfs-control-plane', startError(error));
  }
}

/** The database comes from triggerfs.toml or DATABASE_URL, never from an argument that everyone on the machine could read. */
async function start(argv: readonly string[]): Promise<void> {
  const { options } = parseArguments(OPTIONS, argv);
  if (options.help) return void process.stdout.write(formatHelp('usage: triggerfs-control-plane [OPTIONS]', OPTIONS));
  if (options.version) return void process.stdout.write(`${VERSION}\n`);
  const [waitMs, port] = [waitOf(options.wait), options.port === undefined ? null : portOf(options.port)];
  const env = environment();
  const config = loadConfig(env, options.config);
  const databaseUrl = config['control-plane'].database || env.databaseUrl;
  if (databaseUrl === undefined || databaseUrl === '')
    throw new TriggerFsError('TFS_USAGE', 'no database: set DATABASE_URL, or database in the section [control-plane]');
  const log = createLogger({
    name: 'triggerfs-control-plane',
    format: options.json ? 'json' : config.main.log_format,
    level: env.logLevel ?? 'info',
  });
  await awaitDatabase({ url: databaseUrl, role: null, waitMs, log });
  const controlPlane = await startControlPlane({
    config,
    databaseUrl,
    log,
    ...(options.json ? { unsent: (mail) => void process.stdout.write(`${JSON.stringify({ event: 'mail', ...mail })}\n`) } : {}),
    ...(options.host === undefined ? {} : { host: options.host }),
    ...(port === null ? {} : { port }),
  });
  runUntilSignal({ log, stop: () => controlPlane.stop(), limitMs: STOP_MS, withParent: true });
  if (options.json) process.stdout.write(`${JSON.stringify({ event: 'ready', url: controlPlane.url })}\n`);
  else log.info(`control-plane ready at ${controlPlane.url}`);
}

function portOf(text: string): number {
  const port = Number(text);
  if (/^\d{1,5}$/.test(text) && port <= 65_535) return port;
  throw new TriggerFsError('TFS_USAGE', `-port takes a number from 0 to 65535, not ${text}`);
}
