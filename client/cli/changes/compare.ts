import { parseCommand } from '../../../protocol/configuration/parse.ts';

const SIGNS = { delete: '-', rename: '!' } as const;

/**
 * What a candidate changes, a line for each command: `+` for what is set, `-` for what is deleted, `!` for what is renamed.
 * What is set already is left out.
 */
export function compareLines(before: readonly string[], candidate: readonly string[]): string[] {
  const present = new Set(before);
  return candidate.flatMap((command) => {
    const operation = parseCommand(command);
    if (operation === null || present.has(command)) return [];
    const removes = operation.verb === 'delete' || operation.verb === 'detach';
    return [`${removes ? SIGNS.delete : operation.verb === 'rename' ? SIGNS.rename : '+'} ${command}`];
  });
}
