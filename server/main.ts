import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { environment } from '../runtime/environment.ts';
import { exitWith } from '../runtime/exit.ts';
import { createLogger } from '../runtime/logging.ts';
import { packageRoot } from '../runtime/package-root.ts';
import { readOptions, type ServerOptions } from './options.ts';
import { startScreen } from './screen.ts';
import { type Addresses, Server, StoppedError } from './server.ts';

const PROGRAM = 'triggerfs-server';
/** npm passes on the signal that the terminal has sent already: within this time, several are one. */
const SAME_SIGNAL_MS = 1_000;
const STOP_LIMIT_MS = 20_000;

/** The program `triggerfs-server`: all of triggerFS on one machine. */
export async function main(argv: readonly string[]): Promise<void> {
  // A terminal or pipe that went away must not end the server before it has stopped its parts.
  process.stdout.on('error', () => undefined);
  process.stderr.on('error', () => undefined);
  try {
    const options = readOptions(argv, environment());
    if (typeof options === 'string') process.stdout.write(options);
    else await run(options);
  } catch (error) {
    if (error instanceof StoppedError) process.exit(0);
    exitWith(PROGRAM, error);
  }
}

async function run(options: ServerOptions): Promise<void> {
  const env = environment();
  const started = performance.now();
  const warn = (line: string): void => void process.stderr.write(`${line}\n`);
  const print = (line: string): void => void process.stdout.write(`${options.json ? JSON.stringify({ event: 'print', line }) : line}\n`);
  const log = createLogger({ name: PROGRAM, format: 'text', level: env.logLevel ?? 'warn' });
  const server = new Server({ options, env, log, warn, print });
  stopOnSignals(server, warn);
  if (!options.json) process.stdout.write('Starting triggerFS ...\n');
  const addresses = await server.start();
  if (options.json && addresses.mountProblem !== null) warn(`nothing is mounted: ${addresses.mountProblem.message}`);
  if (options.json) return void process.stdout.write(`${JSON.stringify(readyEvent(addresses))}\n`);
  const seconds = (performance.now() - started) / 1000;
  const cwd = process.cwd();
  const configIsFound = dirname(addresses.config) === join(cwd, '.triggerfs');
  const inCheckout = existsSync(join(packageRoot(), 'tsconfig.json'));
  process.stdout.write(startScreen(addresses, { cwd, dataDir: options.dataDir, seconds, configIsFound, inCheckout }));
}

function readyEvent({ mountProblem, ...addresses }: Addresses): object {
  const problem = mountProblem === null ? {} : { mountProblem: mountProblem.message };
  return { event: 'ready', ...addresses, ...problem };
}

/** The first signal stops everything in order, a later one at once. Works during the start too. */
function stopOnSignals(server: Server, warn: (line: string) => void): void {
  let first: number | null = null;
  const stop = (): void => {
    const now = performance.now();
    if (first !== null) {
      if (now - first > SAME_SIGNAL_MS) server.kill();
      return;
    }
    first = now;
    setTimeout(() => {
      warn(`not stopped after ${STOP_LIMIT_MS / 1000} s, giving up`);
      process.exit(70);
    }, STOP_LIMIT_MS).unref();
    server.stop().then(
      () => process.exit(0),
      (error: unknown) => exitWith(PROGRAM, error),
    );
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, stop);
}
