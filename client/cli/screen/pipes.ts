import { TriggerFsError } from '../../../protocol/errors.ts';
import type { Word } from '../grammar/line.ts';

/** What may stand after `|`, with its help. */
export const PIPES: Readonly<Record<string, string>> = {
  match: 'Show only lines that match a regular expression',
  except: 'Show only lines that do not match a regular expression',
  find: 'Begin with the first line that matches',
  last: 'Show only the last N lines',
  count: 'Show only the number of lines',
  compare: 'Show what the candidate changes (after show); rollback N: what was changed since',
  json: 'Show as JSON',
  'no-more': 'Do not stop after each screen',
};

/** Keeps or drops lines, one after the other. */
export interface LineFilter {
  /** Whether a line stays; may remember lines before. */
  keep(line: string): boolean;
}

/** The pipes of one command line. */
export interface Pipeline {
  /** Made anew for each use, because they count. */
  readonly filters: () => LineFilter[];
  /** Only so many last lines; null for all. */
  readonly last: number | null;
  readonly count: boolean;
  readonly json: boolean;
  readonly noMore: boolean;
  /** How many commits back is compared with; 0 is the running configuration. Null: nothing is compared. */
  readonly compare: number | null;
}

/** Reads the words after each `|`. @throws TriggerFsError TFS_USAGE */
export function readPipes(pipes: readonly (readonly Word[])[]): Pipeline {
  const filters: (() => LineFilter)[] = [];
  const found = { last: null as number | null, count: false, json: false, noMore: false, compare: null as number | null };
  for (const [first, ...rest] of pipes) {
    const name = pipeName(first?.text ?? '');
    const argument = rest.map(({ text }) => text).join(' ');
    if (name === 'match' || name === 'except' || name === 'find') filters.push(filterOf(name, argument));
    else if (name === 'last') found.last = lastOf(argument);
    else if (name === 'compare') found.compare = compareOf(argument);
    else if (argument !== '') throw new TriggerFsError('TFS_USAGE', `| ${name} takes nothing more, not ${argument}`);
    else if (name === 'no-more') found.noMore = true;
    else found[name] = true;
  }
  return { ...found, filters: () => filters.map((make) => make()) };
}

type PipeName = 'match' | 'except' | 'find' | 'last' | 'count' | 'compare' | 'json' | 'no-more';

function pipeName(given: string): PipeName {
  const names = Object.keys(PIPES);
  const begun = names.filter((name) => name.startsWith(given));
  const name = names.includes(given) ? given : begun[0];
  if (given === '' || name === undefined || (name !== given && begun.length > 1)) {
    throw new TriggerFsError(
      'TFS_USAGE',
      `| ${given} is unknown; expected: ${(given === '' ? names : begun.length > 0 ? begun : names).join(', ')}`,
    );
  }
  return name as PipeName;
}

function filterOf(name: 'match' | 'except' | 'find', argument: string): () => LineFilter {
  if (argument === '') throw new TriggerFsError('TFS_USAGE', `| ${name} needs a regular expression`);
  const pattern = compile(argument);
  if (name === 'match') return () => ({ keep: (line) => pattern.test(line) });
  if (name === 'except') return () => ({ keep: (line) => !pattern.test(line) });
  return () => {
    let found = false;
    return {
      keep: (line) => {
        found ||= pattern.test(line);
        return found;
      },
    };
  };
}

function compile(source: string): RegExp {
  try {
    return new RegExp(source, 'i');
  } catch (cause) {
    throw new TriggerFsError('TFS_USAGE', (cause as Error).message, { cause });
  }
}

/** `rollback 2`, or nothing for the running configuration. */
function compareOf(argument: string): number {
  const [word = '', number = '', ...more] = argument.split(' ');
  if (argument === '') return 0;
  if ('rollback'.startsWith(word) && /^[1-9]\d?$/.test(number) && more.length === 0) return Number(number);
  throw new TriggerFsError('TFS_USAGE', `| compare takes nothing more, or rollback NUMBER, not ${argument}`);
}

function lastOf(argument: string): number {
  const count = Number(argument);
  if (Number.isInteger(count) && count > 0) return count;
  throw new TriggerFsError('TFS_USAGE', `| last takes a number of lines, not ${argument || 'nothing'}`);
}
