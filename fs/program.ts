import { basename, dirname, join } from 'node:path';
import { formatHelp, parseArguments } from '../runtime/arguments.ts';
import { type Config, configPath, loadConfig } from '../runtime/config/index.ts';
import { environment } from '../runtime/environment.ts';
import { VERSION } from '../runtime/version.ts';

const OPTIONS = {
  config: { kind: 'value', value: 'FILE', doc: 'Configuration file; see docs/configuration.md for where it is looked for.' },
  mountpoint: { kind: 'value', value: 'DIR', doc: 'Where the trigger files are mounted: an empty directory, made when missing.' },
  logfile: { kind: 'value', value: 'FILE', doc: 'File that responses are appended to.' },
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
  /** Absolute or relative to the current folder, as given; the configuration's when absent. */
  readonly mountpoint: string;
  /** Null for none. */
  readonly logfile: string | null;
  readonly debug: boolean;
  readonly json: boolean;
}

/** Reads arguments and configuration; a text is to be printed instead of running. @throws TriggerFsError TFS_USAGE, TFS_CONFIG */
export function readProgram(argv: readonly string[]): Program | string {
  const { options, words } = parseArguments(OPTIONS, argv);
  if (options.help)
    return formatHelp('Usage: triggerfs [options]\n\nMounts the team’s trigger files and sends what is written to them.', OPTIONS);
  if (options.version) return `triggerfs ${VERSION}\n`;
  const loaded = loadConfig(environment(), options.config);
  const { team = loaded.main.team, identity = loaded.main.identity } = options;
  const config = { ...loaded, main: { ...loaded.main, team, identity } };
  const { logfile } = config.triggerfs;
  return {
    config,
    mountpoint: options.mountpoint ?? words[0] ?? configPath(config, config.triggerfs.mountpoint),
    logfile: options.logfile ?? (logfile === '' ? null : configPath(config, logfile)),
    debug: options.debug,
    json: options.json,
  };
}

/** Folder of what this program keeps: `.triggerfs` beside the configuration file, unless `spool` names another one. */
export function stateFolder(config: Config): string {
  if (config.triggerfs.spool !== '') return configPath(config, config.triggerfs.spool);
  const folder = config.file === null ? process.cwd() : dirname(config.file);
  return basename(folder) === '.triggerfs' ? join(folder, 'spool') : join(folder, '.triggerfs', 'spool');
}
