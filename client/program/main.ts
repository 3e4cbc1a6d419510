import { TriggerFsError } from '../../protocol/errors.ts';
import { formatHelp } from '../../runtime/arguments.ts';
import { type Config, loadConfig } from '../../runtime/config/index.ts';
import type { Credentials } from '../../runtime/credentials.ts';
import { type Environment, environment } from '../../runtime/environment.ts';
import { exitWith } from '../../runtime/exit.ts';
import type { Log } from '../../runtime/logging.ts';
import { VERSION } from '../../runtime/version.ts';
import { ApiCaller } from '../api-caller.ts';
import { Attachment } from '../attachment.ts';
import { Client } from '../client.ts';
import type { Invocation } from '../invocation.ts';
import { Interruption } from './interruption.ts';
import { JsonScreen } from './json-screen.ts';
import { acceptLater, cancelLater } from './later.ts';
import { logInWithCache } from './login.ts';
import { type CommandLine, OPTIONS, type Order, orderOf, parseCommandLine } from './options.ts';
import { readPayload } from './payload.ts';
import { RawScreen, type Screen, TextScreen } from './screen.ts';
import { Sink } from './sink.ts';
import { ScreenWatcher } from './watch.ts';

const PROGRAM = 'triggerfs-client';
const AGENT = `${PROGRAM}/${VERSION}`;
const USAGE = `usage: ${PROGRAM} -service NAME -plugin NAME [-command TEXT] [OPTIONS]`;
/** How long a broker is looked for; less when the request's own time limit is shorter. */
const CONNECT_MS = 3_000;
/** Output that may be on its way: enough to fill a line of 50 Mbit/s over 40 ms. */
const CREDIT_BYTES = 256 * 1024;
const SILENT: Log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };

/** Runs the program `triggerfs-client` and ends the process with its exit code. */
export async function main(argv: readonly string[]): Promise<void> {
  let options: CommandLine | null = null;
  try {
    options = parseCommandLine(argv);
    if (options.help) process.stdout.write(formatHelp(USAGE, OPTIONS));
    else if (options.version) process.stdout.write(`${VERSION}\n`);
    else process.exit(await run(options, environment()));
  } catch (thrown) {
    if (options?.json === true) {
      const { code, message, definition } = TriggerFsError.from(thrown);
      process.stdout.write(`${JSON.stringify({ event: 'error', error: code, detail: message, hint: definition.hint })}\n`);
    }
    exitWith(PROGRAM, thrown);
  }
}

/** What a run of the program works with. */
interface Run {
  readonly options: CommandLine;
  readonly config: Config;
  readonly credentials: Credentials;
  readonly interruption: Interruption;
  readonly out: Sink;
  readonly err: Sink;
  readonly colour: boolean;
  readonly log: Log;
}

/** Does what the command line asks for; returns the exit code. */
async function run(options: CommandLine, env: Environment): Promise<number> {
  const config = loadConfig(env, options.config);
  const interruption = new Interruption();
  const out = new Sink(process.stdout, (error) => interruption.outputBroken(error));
  const err = new Sink(process.stderr, () => {});
  const log = options.debug ? await debugLog() : SILENT;
  const credentials = logInWithCache(config, options, { env, log, program: PROGRAM });
  try {
    return interruption.exitCode(await doIt({ options, config, credentials, interruption, out, err, colour: !env.noColor, log }));
  } catch (error) {
    if (interruption.signal.aborted) return interruption.exitCode(null);
    throw error;
  } finally {
    credentials.stop();
  }
}

function doIt(given: Run): Promise<number> {
  const { options, config, credentials, interruption, out } = given;
  if (options.attach !== undefined) return attach(given, options.attach);
  const caller = new ApiCaller(config.main.api, credentials, AGENT);
  if (options.cancel !== undefined) return cancelLater(caller, options.cancel, options.json, out);
  if (!options.async) return request(given);
  const order = orderOf(options, config);
  const payload = interruption.race(readPayload(options.command, process.stdin));
  return payload.then((message) => acceptLater(caller, order, message, options, out));
}

/** Makes the request and shows it; returns the exit code. */
async function request({ options, config, credentials, interruption, out, err, colour, log }: Run): Promise<number> {
  const order = orderOf(options, config);
  const startMs = Math.min(CONNECT_MS, order.timeoutMs ?? CONNECT_MS);
  const { region } = config.main;
  const client = new Client({ credentials, log, region, agent: AGENT, sessions: 1, startMs });
  try {
    const begun = performance.now();
    const [payload] = await interruption.race(Promise.all([readPayload(options.command, process.stdin), client.start()]));
    const invocation = client.invoke({ ...order, payload, creditBytes: CREDIT_BYTES, signal: interruption.signal });
    const shown = show(invocation, screenOf(options, order, out, err, colour), begun, out, err);
    return await Promise.race([shown, interruption.broken]);
  } finally {
    await client.stop();
  }
}

/** Shows an invocation that goes on without us. */
async function attach({ options, config, credentials, interruption, out, err, colour }: Run, id: string): Promise<number> {
  const makeScreen = (order: Order): Screen => screenOf(options, order, out, err, colour);
  const notice = (text: string): void =>
    options.json ? out.write(`${JSON.stringify({ event: 'notice', detail: text })}\n`) : tell(err, text);
  const watcher = new ScreenWatcher(makeScreen, [out, err], notice);
  const caller = new ApiCaller(config.main.api, credentials, AGENT);
  try {
    const watched = new Attachment(caller, watcher, interruption.signal).run(id);
    const exitCode = await Promise.race([watched, interruption.broken]);
    await out.flushed();
    await err.flushed();
    return exitCode;
  } catch (error) {
    if (interruption.signal.aborted && !out.broken)
      tell(err, `detached: it goes on without being watched; see it again with -attach ${id}`);
    throw error;
  }
}

function tell(err: Sink, text: string): void {
  err.write(`${PROGRAM}: ${text}\n`);
}

async function show(invocation: Invocation, screen: Screen, begun: number, out: Sink, err: Sink): Promise<number> {
  let exitCode = 0;
  for await (const event of invocation.events()) {
    if (out.broken) return exitCode;
    if (event.kind === 'manifest') screen.manifest(event.manifest);
    else if (event.kind === 'output') screen.output(event.chunk);
    else if (event.kind === 'verdict') screen.verdict(event.verdict);
    else {
      exitCode = Math.min(event.outcome.exitCode, 255);
      screen.done(event.outcome, performance.now() - begun);
    }
    await out.ready();
    await err.ready();
  }
  await out.flushed();
  await err.flushed();
  return exitCode;
}

function screenOf(options: CommandLine, order: Order, out: Sink, err: Sink, colour: boolean): Screen {
  if (options.json) return new JsonScreen(order, out);
  return options.raw ? new RawScreen(order, out, err) : new TextScreen(order, out, err, colour);
}

/** pino costs more start-up time than everything else here, so it is loaded only when it is wanted. */
async function debugLog(): Promise<Log> {
  const { createLogger } = await import('../../runtime/logging.ts');
  return createLogger({ name: PROGRAM, format: 'text', level: 'debug' });
}
