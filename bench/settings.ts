import { TriggerFsError } from '../protocol/errors.ts';
import { parseArguments } from '../runtime/arguments.ts';

/** How a run of the benchmarks goes. */
export interface Settings {
  /** Names of the benchmarks to run; null runs all. */
  readonly only: readonly string[] | null;
  /** Length of one round of one contender. */
  readonly seconds: number;
  /** Counted rounds of each contender. */
  readonly rounds: number;
  /** One JSON object instead of the table. */
  readonly json: boolean;
  /** Folder for CPU profiles of all processes of ours; null for none. */
  readonly profile: string | null;
  readonly help: boolean;
}

/** The options of `npm run bench`. */
export const OPTIONS = {
  only: { kind: 'values', value: 'NAME', doc: 'run only this benchmark (may be repeated)' },
  seconds: { kind: 'value', value: 'N', doc: 'length of one round of one contender (default 3)' },
  rounds: { kind: 'value', value: 'N', doc: 'counted rounds of each contender (default 5)' },
  quick: { kind: 'flag', doc: 'three rounds of one second: seconds instead of minutes, with more noise' },
  json: { kind: 'flag', doc: 'print one JSON object instead of the table' },
  profile: { kind: 'value', value: 'DIR', doc: 'write CPU profiles of our processes into this folder' },
  help: { kind: 'flag', doc: 'show this help' },
} as const;

/** Reads the options. @throws TriggerFsError TFS_USAGE */
export function readSettings(argv: readonly string[], names: readonly string[]): Settings {
  const { options, words } = parseArguments(OPTIONS, argv);
  if (words.length > 0) throw new TriggerFsError('TFS_USAGE', `unexpected ${words[0]}`);
  const unknown = options.only.find((name) => !names.includes(name));
  if (unknown !== undefined) throw new TriggerFsError('TFS_USAGE', `there is no benchmark ${unknown}; there are ${names.join(', ')}`);
  return {
    only: options.only.length === 0 ? null : options.only,
    seconds: positive('seconds', options.seconds) ?? (options.quick ? 1 : 3),
    rounds: Math.ceil(positive('rounds', options.rounds) ?? (options.quick ? 3 : 5)),
    json: options.json,
    profile: options.profile ?? null,
    help: options.help,
  };
}

function positive(name: string, text: string | undefined): number | null {
  if (text === undefined) return null;
  const value = Number(text);
  if (!(value > 0 && value <= 3600)) throw new TriggerFsError('TFS_USAGE', `-${name} takes a positive number, not ${text}`);
  return value;
}
