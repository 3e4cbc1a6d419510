import { readFileSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { TriggerFsError } from '../protocol/errors.ts';
import { formatHelp, parseArguments } from '../runtime/arguments.ts';
import { type Config, configPath, loadConfig, parseConfig } from '../runtime/config/index.ts';
import { environment } from '../runtime/environment.ts';
import { VERSION } from '../runtime/version.ts';

const STANDARD_INPUT = '-';
const STANDARD_INPUT_FD = 0;

const OPTIONS = {
  config: {
    kind: 'value',
    value: 'FILE',
    doc: 'Configuration file, or - for standard input; see docs/configuration.md for where it is looked for.',
  },
  mountpoint: { kind: 'value', value: 'DIR', doc: 'Where the trigger files are mounted: an empty directory, made when missing.' },
  logfile: { kind: 'value', value: 'FILE', doc: 'File that responses are appended to.' },
  spool: { kind: 'value', value: 'DIR', doc: 'Folder of what is written and not answered.' },
  private: {
    kind: 'value',
    value: 'DIR',
    doc: 'Mount for one shell: a spool of its own below DIR, with what mounts that have ended left there.',
  },
  team: { kind: 'value', value: 'NAME', doc: 'Team to log in to.' },
  identity: { kind: 'value', value: 'NAME', doc: 'Identity to log in with.' },
  debug: { kind: 'flag', doc: 'Log every refused system call and every attempt to connect.' },
  json: { kind: 'flag', doc: 'One JSON object per line on standard output: {"event":"ready",...}, {"event":"print","line":...}.' },
  version: { kind: 'flag', doc: 'Print the version.' },
  help: { kind: 'flag', doc: 'Print this help.' },
} as const;

/** What the program was asked for. */
export interface Program {
  readonly config: Config;
  /** Text of the configuration that came by standard input; null for one in a file. */
  readonly input: string | null;
  /** Absolute or relative to the current folder, as given; the configuration's when absent. */
  readonly mountpoint: string;
  /** Null for none. */
  readonly logfile: string | null;
  /** Folder of the spool. */
  readonly spool: string;
  /** Folder of all private mounts of a person; null for a mount of its own. */
  readonly private: string | null;
  readonly debug: boolean;
  readonly json: boolean;
}

/** Reads arguments and configuration; a text is to be printed instead of running. @throws TriggerFsError TFS_USAGE, TFS_CONFIG */
export function readProgram(argv: readonly string[]): Program | string {
  const { options, words } = parseArguments(OPTIONS, argv);
  if (options.help)
    return formatHelp('Usage: triggerfs [options]\n\nMounts the team’s trigger files and sends what is written to them.', OPTIONS);
  if (options.version) return `triggerfs ${VERSION}\n`;
  const input = options.config === STANDARD_INPUT ? readInput() : null;
  const loaded = input === null ? loadConfig(environment(), options.config) : parseConfig(input, null);
  const { team = loaded.main.team, identity = loaded.main.identity } = options;
  const config = { ...loaded, main: { ...loaded.main, team, identity } };
  const { logfile } = config.triggerfs;
  return {
    config,
    input,
    mountpoint: options.mountpoint ?? words[0] ?? configPath(config, config.triggerfs.mountpoint),
    logfile: options.logfile ?? (logfile === '' ? null : configPath(config, logfile)),
    spool: options.spool === undefined ? spoolOf(config) : resolve(options.spool),
    private: options.private === undefined ? null : resolve(options.private),
    debug: options.debug,
    json: options.json,
  };
}

function readInput(): string {
  try {
    // Not by process.stdin: opening that makes the pipe refuse to wait for what has not come yet.
    return readFileSync(STANDARD_INPUT_FD, 'utf8');
  } catch (cause) {
    throw new TriggerFsError('TFS_CONFIG', `cannot read the configuration from standard input: ${(cause as Error).message}`, { cause });
  }
}

/** In `.triggerfs` beside the configuration file, unless `spool` names another folder. */
function spoolOf(config: Config): string {
  if (config.triggerfs.spool !== '') return configPath(config, config.triggerfs.spool);
  const folder = config.file === null ? process.cwd() : dirname(config.file);
  return basename(folder) === '.triggerfs' ? join(folder, 'spool') : join(folder, '.triggerfs', 'spool');
}
