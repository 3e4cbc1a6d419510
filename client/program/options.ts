import { TriggerFsError } from '../../protocol/errors.ts';
import { LIMITS } from '../../protocol/limits.ts';
import { isArgumentName, isPluginName, parseServiceAddress } from '../../protocol/names.ts';
import { parseDuration } from '../../protocol/quantity.ts';
import { parseArguments } from '../../runtime/arguments.ts';
import type { Config } from '../../runtime/config/index.ts';

/** Options of `triggerfs-client`. */
export const OPTIONS = {
  service: { kind: 'value', value: 'NAME', doc: 'Service, identity of a worker, or TEAM/SERVICE of another team.' },
  plugin: { kind: 'value', value: 'NAME', doc: 'Plugin that the worker runs, such as command/command.' },
  command: { kind: 'value', value: 'TEXT', doc: 'The message; standard input when absent.' },
  args: { kind: 'values', value: 'KEY=VALUE', doc: 'Argument of the plugin; may be repeated.' },
  timeout: { kind: 'value', value: 'DURATION', doc: 'Time limit, such as 500ms, 10s or 5m.' },
  async: { kind: 'flag', doc: 'Have it accepted for later, print its id, and do not wait.' },
  delay: { kind: 'value', value: 'DURATION', doc: 'With -async: not before this time has passed.' },
  priority: { kind: 'value', value: 'N', doc: 'With -async: from -100 to 100; higher ones go first.' },
  retries: { kind: 'value', value: 'N', doc: 'With -async: how often it is tried again when it fails.' },
  backoff: { kind: 'value', value: 'DURATION', doc: 'With -async: pause before the first retry, doubled for each later one.' },
  'max-age': { kind: 'value', value: 'DURATION', doc: 'With -async: how long it may wait for a worker.' },
  'idempotency-key': { kind: 'value', value: 'KEY', doc: 'With -async: the same key with the same request is accepted once.' },
  'concurrency-key': { kind: 'value', value: 'KEY', doc: 'With -async: those with the same key run one after another.' },
  'on-success': { kind: 'value', value: 'TARGET', doc: 'With -async: trigger file or URL that gets the result when it ends ok.' },
  'on-failure': { kind: 'value', value: 'TARGET', doc: 'With -async: trigger file or URL that gets the result when it fails for good.' },
  attach: { kind: 'value', value: 'ID', doc: 'Show an invocation from its first byte on, then live; Ctrl-C leaves it alone.' },
  cancel: { kind: 'value', value: 'ID', doc: 'Cancel an invocation that was accepted for later.' },
  raw: { kind: 'flag', doc: 'Pass the output through as it is, without any other line.' },
  json: { kind: 'flag', doc: 'Print one JSON object per line.' },
  config: { kind: 'value', value: 'FILE', doc: 'The configuration file.' },
  team: { kind: 'value', value: 'NAME', doc: 'Team to log in to, instead of the configured one.' },
  identity: { kind: 'value', value: 'NAME', doc: 'Identity to log in with, instead of the configured one.' },
  debug: { kind: 'flag', doc: 'Log what happens on the wire to standard error.' },
  version: { kind: 'flag', doc: 'Show the version.' },
  help: { kind: 'flag', doc: 'Show this help.' },
} as const;

/** What is done instead of a request that is waited for. */
const MODES = ['async', 'attach', 'cancel'] as const;
/** Only with -async. */
const LATER = [
  'delay',
  'priority',
  'retries',
  'backoff',
  'max-age',
  'idempotency-key',
  'concurrency-key',
  'on-success',
  'on-failure',
] as const;
const REQUEST = ['service', 'plugin', 'command', 'timeout'] as const;

/** The command line, parsed but not yet joined with the configuration. */
export type CommandLine = ReturnType<typeof parseArguments<typeof OPTIONS>>['options'];

/** What to request. */
export interface Order {
  readonly service: string;
  readonly plugin: string;
  readonly args: Readonly<Record<string, string>>;
  /** Milliseconds; the service's own limit when absent. */
  readonly timeoutMs?: number;
}

/** Parses the command line. @throws TriggerFsError TFS_USAGE */
export function parseCommandLine(argv: readonly string[]): CommandLine {
  const { options, words } = parseArguments(OPTIONS, argv);
  if (words[0] !== undefined) throw new TriggerFsError('TFS_USAGE', `unexpected word ${words[0]}; quote a message of several words`);
  if (options.raw && options.json) throw new TriggerFsError('TFS_USAGE', '-raw and -json exclude each other');
  checkModes(options);
  return options;
}

/** One thing at a time, and no option that would not count. */
function checkModes(options: CommandLine): void {
  const modes = MODES.filter((name) => options[name] !== undefined && options[name] !== false);
  if (modes.length > 1) throw new TriggerFsError('TFS_USAGE', `-${modes[0]} and -${modes[1]} exclude each other`);
  const [mode] = modes;
  const later = LATER.find((name) => options[name] !== undefined);
  if (later !== undefined && mode !== 'async') throw new TriggerFsError('TFS_USAGE', `-${later} needs -async`);
  const request = REQUEST.find((name) => options[name] !== undefined);
  if (request !== undefined && (mode === 'attach' || mode === 'cancel'))
    throw new TriggerFsError('TFS_USAGE', `-${request} and -${mode} exclude each other`);
}

/** What the command line and the configuration ask for. @throws TriggerFsError TFS_USAGE, TFS_BAD_NAME, TFS_BAD_TIMEOUT, TFS_TOO_LARGE */
export function orderOf(options: CommandLine, config: Config): Order {
  const section = config['triggerfs-client'];
  const service = options.service ?? section.service;
  const plugin = options.plugin ?? section.plugin;
  if (service === '') throw new TriggerFsError('TFS_USAGE', 'no -service is given');
  if (plugin === '') throw new TriggerFsError('TFS_USAGE', 'no -plugin is given');
  if (parseServiceAddress(service) === null) throw new TriggerFsError('TFS_BAD_NAME', `-service ${service} is no name of a service`);
  if (!isPluginName(plugin)) throw new TriggerFsError('TFS_BAD_NAME', `-plugin ${plugin} is no name of a plugin`);
  const timeoutMs = options.timeout === undefined ? section.timeout : timeoutOf(options.timeout);
  return { service, plugin, args: argumentsOf(options.args), ...(timeoutMs === null ? {} : { timeoutMs }) };
}

function timeoutOf(text: string): number {
  const ms = parseDuration(text);
  if (ms === null || ms > LIMITS.maxTimeoutMs) throw new TriggerFsError('TFS_BAD_TIMEOUT', `-timeout ${text} is no possible time limit`);
  return ms;
}

function argumentsOf(pairs: readonly string[]): Record<string, string> {
  // Not an object yet: a name such as __proto__ is a name like others.
  const found = new Map<string, string>();
  for (const pair of pairs) {
    const split = pair.indexOf('=');
    const name = split < 0 ? pair : pair.slice(0, split);
    if (split < 0) throw new TriggerFsError('TFS_USAGE', `-args ${name} lacks its value: write -args ${name}=VALUE`);
    if (!isArgumentName(name)) throw new TriggerFsError('TFS_USAGE', `-args: ${JSON.stringify(name)} is no name of an argument`);
    if (found.has(name)) throw new TriggerFsError('TFS_USAGE', `-args ${name} is given twice`);
    found.set(name, pair.slice(split + 1));
  }
  const args = Object.fromEntries(found);
  const bytes = Buffer.byteLength(JSON.stringify(args));
  if (bytes > LIMITS.argsBytes) throw new TriggerFsError('TFS_TOO_LARGE', `-args: ${bytes} bytes in all, at most ${LIMITS.argsBytes}`);
  return args;
}
