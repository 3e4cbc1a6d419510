import { dirname } from 'node:path';
import { environment } from '../runtime/environment.ts';
import { exitWith } from '../runtime/exit.ts';
import { runUntilSignal } from '../runtime/lifecycle.ts';
import { createLogger } from '../runtime/logging.ts';
import { banner } from './banner.ts';
import { LineSink } from './line-sink.ts';
import { startFs } from './module.ts';
import { type Program, readProgram } from './program.ts';
import { Watchdog } from './watchdog.ts';

const STOP_LIMIT_MS = 9_000;

/** The process that mounts, started by the supervisor, because fuse-native wants a process and its libraries for itself. */
async function main(): Promise<void> {
  const program = readProgram(process.argv.slice(2)) as Program;
  const { config, mountpoint, logfile, spool, debug, json } = program;
  const level = debug ? 'debug' : (environment().logLevel ?? 'info');
  const log = createLogger({ format: json ? 'json' : config.main.log_format, level, name: 'triggerfs' });
  process.on('uncaughtException', (err) => log.error({ err }, 'unexpected error'));
  process.on('unhandledRejection', (err) => log.error({ err }, 'unexpected rejection'));
  // A reader of our output that goes away must not end the mount.
  for (const stream of [process.stdout, process.stderr]) stream.on('error', () => undefined);
  const terminal = new LineSink(process.stdout);
  const print = (line: string): void => terminal.add(json ? JSON.stringify({ event: 'print', line }) : line);
  for (const line of banner()) print(line);
  const fs = await startFs({ config, mountpoint, logfile, spoolFolder: spool, privateRoot: program.private, log, print });
  const watchdog = Watchdog.start();
  if (json) terminal.add(JSON.stringify({ event: 'ready', mountpoint: fs.mountpoint, folder: dirname(spool), inherited: fs.inherited }));
  process.send?.({ ready: true });
  const stop = async (): Promise<void> => {
    await fs.stop();
    watchdog.stop();
    if (json) terminal.add(JSON.stringify({ event: 'ended', unanswered: fs.unanswered }));
    terminal.flush();
  };
  runUntilSignal({ log, stop, limitMs: STOP_LIMIT_MS, withParent: true });
}

main().catch((error: unknown) => exitWith('triggerfs', error));
