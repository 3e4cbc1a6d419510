import { TriggerFsError } from '../protocol/errors.ts';
import { formatHelp, parseArguments } from '../runtime/arguments.ts';
import { type Config, loadConfig, workerSection } from '../runtime/config/index.ts';
import { childEnvironment, environment } from '../runtime/environment.ts';
import { exitWith } from '../runtime/exit.ts';
import { runUntilSignal } from '../runtime/lifecycle.ts';
import { createLogger, type Logger } from '../runtime/logging.ts';
import { VERSION } from '../runtime/version.ts';
import { Backoff } from '../runtime/wire/backoff.ts';

const PROGRAM = 'triggerfs-worker';
/** Time beyond the grace of running work that a stop may take. */
const STOP_MARGIN_MS = 15_000;

const OPTIONS = {
  config: { kind: 'value', value: 'FILE', doc: 'Configuration file; default: triggerfs.toml as described in docs/configuration.md.' },
  identity: { kind: 'value', value: 'NAME', doc: 'Identity of the worker, as in [workers.TEAM.IDENTITY].' },
  team: { kind: 'value', value: 'NAME', doc: 'Team of the worker; needed when the identity is in several teams of the file.' },
  debug: { kind: 'flag', doc: 'Log heartbeats and other details.' },
  json: { kind: 'flag', doc: 'Print one JSON object when a broker gives it work, and log JSON.' },
  version: { kind: 'flag', doc: 'Print the version.' },
  help: { kind: 'flag', doc: 'Print this.' },
} as const;

/** Runs the program until a signal or a refusal ends it. */
export async function main(argv: readonly string[]): Promise<void> {
  try {
    const { options, words } = parseArguments(OPTIONS, argv);
    if (words.length > 0) throw new TriggerFsError('TFS_USAGE', `unexpected word ${words[0]}`);
    if (options.help) process.stdout.write(formatHelp(`${PROGRAM} -identity NAME: runs plugins for the services of a team.`, OPTIONS));
    else if (options.version) process.stdout.write(`${PROGRAM} ${VERSION}\n`);
    else await work(options);
  } catch (error) {
    exitWith(PROGRAM, error);
  }
}

async function work(options: {
  config?: string | undefined;
  identity?: string | undefined;
  team?: string | undefined;
  debug: boolean;
  json: boolean;
}): Promise<void> {
  const env = environment();
  const config = loadConfig(env, options.config);
  const { team, identity, token } = findWorker(config, options.team, options.identity);
  const log = createLogger({
    name: PROGRAM,
    format: options.json ? 'json' : config.main.log_format,
    level: options.debug ? 'debug' : (env.logLevel ?? 'info'),
  });
  const { Worker } = await import('./worker.ts');
  const fatal = (error: TriggerFsError): void => {
    worker.kill();
    exitWith(PROGRAM, error);
  };
  const ready = (): void => {
    if (options.json) process.stdout.write(`${JSON.stringify({ event: 'ready', team, identity })}\n`);
  };
  const worker = new Worker({ config, team, identity, token, debug: options.debug, log, inherited: childEnvironment({}), fatal, ready });
  killOnSecondSignal(() => worker.kill());
  runUntilSignal({ log, stop: () => worker.stop(), limitMs: config.workers.grace + STOP_MARGIN_MS, withParent: true });
  await startPatiently(() => worker.start(), log);
}

/** The worker of the command line, or the only one of the file. @throws TriggerFsError TFS_USAGE */
function findWorker(
  config: Config,
  team: string | undefined,
  identity: string | undefined,
): { team: string; identity: string; token: string } {
  const found = [...config.workerCredentials]
    .flatMap(([teamName, workers]) => [...workers].map(([name, { token }]) => ({ team: teamName, identity: name, token })))
    .filter((worker) => (team === undefined || worker.team === team) && (identity === undefined || worker.identity === identity));
  const [worker] = found;
  const wanted = workerSection(team ?? 'TEAM', identity ?? 'IDENTITY');
  if (worker === undefined)
    throw new TriggerFsError('TFS_USAGE', `${config.file ?? 'the configuration'} has no section ${wanted} with a token`);
  if (found.length === 1) return worker;
  const names = found.map((one) => `-team ${one.team} -identity ${one.identity}`).join(', ');
  throw new TriggerFsError('TFS_USAGE', `several workers fit: choose one of ${names}`);
}

/** A control-plane that is down comes back; credentials that are wrong do not get better. */
async function startPatiently(start: () => Promise<void>, log: Logger): Promise<void> {
  const backoff = new Backoff(500, 10_000);
  for (;;) {
    try {
      await start();
      return;
    } catch (error) {
      const { definition, message } = TriggerFsError.from(error);
      if (!definition.retryable) throw error;
      log.warn(`${message}; trying again`);
      await new Promise((resolve) => setTimeout(resolve, backoff.next()));
    }
  }
}

/** Registered before the graceful handler, so that its plugins are gone when the second signal ends the process. */
function killOnSecondSignal(kill: () => void): void {
  let signals = 0;
  const count = (): void => {
    signals += 1;
    if (signals > 1) kill();
  };
  process.on('SIGINT', count);
  process.on('SIGTERM', count);
}
