import { OBJECTS } from './operations.ts';
import { parseCommand } from './parse.ts';
import { quote } from './tokens.ts';

/** What differs of one object between two states of a configuration. */
export interface ObjectDifference {
  /** The object as commands call it, such as `services demo`; `teams` is the team itself. */
  readonly object: string;
  /** Commands in the order of the text; `removed` ones are only in the first state. */
  readonly lines: readonly { readonly change: 'removed' | 'added'; readonly command: string }[];
}

/**
 * Compares two configuration texts as `describeTeam` writes them, object by object. Within an object the order counts: that of
 * its workers is the order in which they are asked.
 * @throws TriggerFsError TFS_USAGE for a line that is no command
 */
export function compareConfigurations(before: readonly string[], after: readonly string[]): ObjectDifference[] {
  const [then, now] = [byObject(before), byObject(after)];
  const objects = mergedKeys([...then.keys()], [...now.keys()]);
  return objects.flatMap((object) => {
    const lines = compareLines(then.get(object) ?? [], now.get(object) ?? []);
    return lines.length === 0 ? [] : [{ object, lines }];
  });
}

function byObject(commands: readonly string[]): Map<string, string[]> {
  const objects = new Map<string, string[]>();
  for (const command of commands) {
    const operation = parseCommand(command);
    if (operation === null) continue;
    const { object, name } = operation;
    const key = name === '' ? object : `${object} ${quote(name)}`;
    const lines = objects.get(key);
    if (lines === undefined) objects.set(key, [command]);
    else lines.push(command);
  }
  return objects;
}

/** All keys, those of a kind of object together in the order of the text: what is gone stands before what came in its place. */
function mergedKeys(then: readonly string[], now: readonly string[]): string[] {
  const kinds = Object.keys(OBJECTS);
  const kindOf = (key: string): number => kinds.indexOf(key.split(' ')[0] as string);
  const present = new Set(now);
  return [...then.filter((key) => !present.has(key)), ...now].toSorted((a, b) => kindOf(a) - kindOf(b));
}

/** The lines of one object are all different, so the longest common subsequence is a longest rising one. */
function compareLines(before: readonly string[], after: readonly string[]): ObjectDifference['lines'] {
  const places = new Map(before.map((command, at) => [command, at]));
  const kept = longestRising(after.flatMap((command) => places.get(command) ?? []));
  const lines: { change: 'removed' | 'added'; command: string }[] = [];
  let from = 0;
  let added: string[] = [];
  const flush = (end: number): void => {
    for (const command of before.slice(from, end)) lines.push({ change: 'removed', command });
    for (const command of added) lines.push({ change: 'added', command });
    added = [];
    from = end + 1;
  };
  for (const command of after) {
    const place = places.get(command);
    if (place === undefined || !kept.has(place)) added.push(command);
    else flush(place);
  }
  flush(before.length);
  return lines;
}

/** Members of a longest rising subsequence, by patience sorting. */
function longestRising(numbers: readonly number[]): ReadonlySet<number> {
  const tops: number[] = [];
  const previous = new Map<number, number | undefined>();
  for (const number of numbers) {
    let [low, high] = [0, tops.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((tops[middle] as number) < number) low = middle + 1;
      else high = middle;
    }
    previous.set(number, tops[low - 1]);
    tops[low] = number;
  }
  const found = new Set<number>();
  for (let number = tops.at(-1); number !== undefined; number = previous.get(number)) found.add(number);
  return found;
}
