import { createReadStream } from 'node:fs';
import { createInterface } from 'node:readline';
import { TriggerFsError } from '../../protocol/errors.ts';
import type { MaintenanceView } from '../../protocol/http/maintenance.ts';
import { formatHelp, parseArguments } from '../../runtime/arguments.ts';
import { type Config, loadConfig } from '../../runtime/config/index.ts';
import { type Environment, environment } from '../../runtime/environment.ts';
import { exitWith } from '../../runtime/exit.ts';
import { VERSION } from '../../runtime/version.ts';
import { harmless } from '../program/terminal-text.ts';
import { Connection } from './connection.ts';
import { Console } from './console.ts';
import { Repl } from './repl.ts';
import { shownTime } from './screen/answer.ts';
import type { ConsoleScreen } from './screen/console-screen.ts';
import { Keyboard } from './screen/keyboard.ts';
import { ScriptScreen } from './screen/script-screen.ts';
import { TerminalScreen } from './screen/terminal-screen.ts';
import { runScript, type Source } from './script.ts';
import { signUp } from './sign-up.ts';

const PROGRAM = 'triggerfs-cli';
const USAGE = `usage: ${PROGRAM} [OPTIONS]\n\nThe console of triggerFS. Without -e and -f it is interactive on a terminal, and reads commands from a pipe.`;
const BROKEN_PIPE = 141;
const INTERRUPTED = 130;

/** Options of `triggerfs-cli`. */
export const OPTIONS = {
  e: { kind: 'values', value: 'COMMAND', doc: 'Run a command and end; may be repeated.' },
  f: { kind: 'value', value: 'FILE', doc: 'Run the commands of a file and end.' },
  json: { kind: 'flag', doc: 'Print answers as JSON.' },
  config: { kind: 'value', value: 'FILE', doc: 'The configuration file.' },
  team: { kind: 'value', value: 'NAME', doc: 'Team to log in to, instead of the configured one.' },
  identity: { kind: 'value', value: 'NAME', doc: 'Identity to log in with, instead of the configured one; asks for the password.' },
  signup: { kind: 'flag', doc: 'Make an account first: asks for identity, mail address and password.' },
  version: { kind: 'flag', doc: 'Show the version.' },
  help: { kind: 'flag', doc: 'Show this help.' },
} as const;

/** How long a command may tidy up when the console is told to end. */
const END_MS = 15_000;

type CommandLine = ReturnType<typeof parseArguments<typeof OPTIONS>>['options'];

/** Runs the program `triggerfs-cli` and ends the process with its exit code. */
export async function main(argv: readonly string[]): Promise<void> {
  try {
    const { options, words } = parseArguments(OPTIONS, argv);
    if (words[0] !== undefined) throw new TriggerFsError('TFS_USAGE', `unexpected word ${words[0]}; commands are given with -e "COMMAND"`);
    if (options.help) process.stdout.write(formatHelp(USAGE, OPTIONS));
    else if (options.version) process.stdout.write(`${VERSION}\n`);
    else process.exit(await run(options, environment()));
  } catch (thrown) {
    exitWith(PROGRAM, thrown);
  }
}

function run(options: CommandLine, env: Environment): Promise<number> {
  const source = sourceOf(options);
  return source === null ? runInteractive(options, env) : runLines(source, options, env);
}

/** Null for an interactive console. */
function sourceOf(options: CommandLine): Source | null {
  if (options.e.length > 0) return { label: '-e', lines: options.e };
  if (options.f !== undefined) return { label: `${options.f} line`, lines: linesOf(createReadStream(options.f)) };
  return process.stdin.isTTY && process.stdout.isTTY ? null : { label: 'line', lines: linesOf(process.stdin) };
}

/** Begins to read with the first line that is asked for: what readline reads before somebody listens is lost. */
async function* linesOf(input: NodeJS.ReadableStream): AsyncGenerator<string> {
  yield* createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY });
}

async function runLines(source: Source, options: CommandLine, env: Environment): Promise<number> {
  const interruption = new AbortController();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.on(signal, () => {
      if (interruption.signal.aborted) process.exit(INTERRUPTED);
      interruption.abort();
    });
  }
  const screen = new ScriptScreen({
    colour: !env.noColor,
    onBroken: ({ code, message }) => {
      // Whoever reads has enough, as `| head -1`.
      if (code === 'EPIPE') process.exit(BROKEN_PIPE);
      exitWith(PROGRAM, new TriggerFsError('TFS_OUTPUT', `cannot write the output: ${message}`));
    },
  });
  const config = loadConfig(env, options.config);
  const console = new Console({ connection: await connect(config, options, env, screen), screen, json: options.json });
  try {
    const exitCode = await runScript(source, console, screen, interruption.signal);
    await screen.out.flushed();
    await screen.err.flushed();
    return exitCode;
  } finally {
    await console.connection.stop();
  }
}

async function runInteractive(options: CommandLine, env: Environment): Promise<number> {
  const config = loadConfig(env, options.config);
  const keyboard = new Keyboard(process.stdin);
  let repl: Repl | null = null;
  const end = (): void => {
    setTimeout(() => process.exit(INTERRUPTED), END_MS).unref();
    if (repl !== null) return repl.end();
    keyboard.close();
    process.exit(INTERRUPTED);
  };
  const screen = new TerminalScreen(keyboard, process.stdout, { colour: !env.noColor, onBroken: end });
  keyboard.open();
  // Until there is a line editor, keys wait: a password typed too early must not end up in a line.
  keyboard.hold(() => {
    keyboard.close();
    process.exit(INTERRUPTED);
  });
  process.on('SIGTERM', end).on('SIGHUP', end);
  // A stray Ctrl-C between raw and cooked mode ends nothing.
  process.on('SIGINT', () => undefined);
  try {
    const connection = await connect(config, options, env, screen);
    const console = new Console({ connection, screen, json: options.json });
    await greet(console, screen);
    await console.look();
    repl = new Repl({ console, keyboard, screen, stdout: process.stdout, env });
    await repl.run();
    await console.connection.stop();
    return 0;
  } finally {
    keyboard.close();
  }
}

/** Logs in; the password is asked for where the configuration has none for this identity. */
async function connect(config: Config, options: CommandLine, env: Environment, screen: ConsoleScreen): Promise<Connection> {
  if (options.signup) {
    const person = await signUp(config.main.api, screen);
    return Connection.open(withLogin(config, { ...person, team: '' }, true), env);
  }
  const { main } = config;
  const team = options.team ?? main.team;
  const other = options.identity !== undefined && options.identity !== main.identity;
  const identity = (options.identity ?? main.identity) || (await screen.ask('Identity: ', false));
  const asked = other || main.secret === '';
  const secret = asked ? await screen.ask(`Password of ${identity}: `, true) : main.secret;
  return Connection.open(withLogin(config, { team, identity, secret }, asked), env);
}

/** A login with a password that was typed is not kept for others. */
function withLogin(config: Config, login: Pick<Config['main'], 'team' | 'identity' | 'secret'>, typed: boolean): Config {
  const client = { ...config['triggerfs-client'], cache: config['triggerfs-client'].cache && !typed };
  return { ...config, main: { ...config.main, ...login }, 'triggerfs-client': client };
}

/** Says who is logged in where. */
async function greet(console: Console, screen: ConsoleScreen): Promise<void> {
  const { team, identity, role, unread = 0 } = await console.connection.login();
  const where = team === null ? 'in no team' : `in team ${team} (${role})`;
  screen.out.write(`triggerfs-cli (v${VERSION})\nLogged in as ${identity} ${where}. Type help or ? for help.\n`);
  if (team === null) screen.out.write('Make a team: configure, set teams name NAME, exit, request team switch NAME.\n');
  const planned = await console.connection.list<MaintenanceView>('/v1/maintenance').catch(() => []);
  for (const { startsAt, reason } of planned) screen.out.write(`Maintenance begins at ${shownTime(startsAt)}: ${harmless(reason)}\n`);
  if (unread > 0) screen.out.write(`You have ${unread} unread ${unread === 1 ? 'letter' : 'letters'}: see mail.\n`);
}
