import { TriggerFsError } from '../errors.ts';
import { LIMITS } from '../limits.ts';
import { isPluginName } from '../names.ts';
import { parseDuration } from '../quantity.ts';
import type { SettingValue } from './operations.ts';

/** A setting of an object: `set services demo timeout 10s`. */
export interface Setting {
  /** Its property in the API's bodies. */
  readonly field: string;
  /** What its value looks like. */
  readonly usage: string;
  readonly doc: string;
  /** All values, where there are few. */
  readonly choices?: readonly string[];
  /** What a new object has, and what `delete OBJECT NAME SETTING` goes back to; undefined: it cannot be deleted. */
  readonly initial: SettingValue | undefined;
  /** @throws TriggerFsError TFS_USAGE */
  readonly parse: (text: string) => SettingValue;
  readonly format: (value: SettingValue) => string;
}

const DESCRIPTION_LENGTH = 1000;
const DURATIONS: readonly (readonly [unit: string, ms: number])[] = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['m', 60_000],
  ['s', 1_000],
];

/** What people write about an object. */
export const description: Setting = {
  field: 'description',
  usage: '"TEXT"',
  doc: 'What it is for',
  initial: '',
  parse: (text) => {
    if ([...text].length <= DESCRIPTION_LENGTH) return text;
    throw new TriggerFsError('TFS_USAGE', `a description has at most ${DESCRIPTION_LENGTH} characters, not ${[...text].length}`);
  },
  format: String,
};
/** The plugin that is run. */
export const plugin: Setting = {
  field: 'plugin',
  usage: 'NAME/NAME',
  doc: 'Plugin that is run',
  initial: null,
  parse: (text) => {
    if (isPluginName(text)) return text;
    throw new TriggerFsError('TFS_USAGE', `${text} is no name of a plugin, such as command/command`);
  },
  format: String,
};

/** One of a few words. */
export function choice(field: string, doc: string, choices: readonly string[], initial: string | undefined): Setting {
  return {
    field,
    usage: choices.join('|'),
    doc,
    choices,
    initial,
    parse: (text) => {
      if (choices.includes(text)) return text;
      throw new TriggerFsError('TFS_USAGE', `${field} is ${choices.slice(0, -1).join(', ')} or ${choices.at(-1)}, not ${text}`);
    },
    format: String,
  };
}

/** A duration; its word may differ from its property. */
export function duration(
  field: string,
  doc: string,
  { usage = '10s', word, min, max, initial }: { usage?: string; word: string; min: number; max: number; initial: number | null },
): Setting {
  return {
    field,
    usage,
    doc,
    initial,
    parse: (text) => {
      const ms = /^0(ms|s|m|h|d)?$/.test(text) ? 0 : parseDuration(text);
      if (ms !== null && ms >= min && ms <= max) return ms;
      throw new TriggerFsError(
        'TFS_USAGE',
        `${word} is a duration such as 500ms, 10s or 5m, ${formatMs(min)} to ${formatMs(max)}, not ${text}`,
      );
    },
    format: (value) => formatMs(Number(value)),
  };
}

function formatMs(ms: number): string {
  if (ms === 0) return '0s';
  const [unit, size] = DURATIONS.find(([, length]) => ms % length === 0) ?? ['ms', 1];
  return `${ms / size}${unit}`;
}

/** How long a run may take. */
export function timeout(initial: number | null): Setting {
  return {
    field: 'timeoutMs',
    usage: '10s',
    doc: 'How long a run may take',
    initial,
    parse: (text) => {
      const ms = parseDuration(text);
      if (ms !== null && ms <= LIMITS.maxTimeoutMs) return ms;
      throw new TriggerFsError('TFS_USAGE', `a timeout is a duration such as 500ms, 10s or 5m, at most 7d, not ${text}`);
    },
    format: (value) => formatMs(Number(value)),
  };
}
