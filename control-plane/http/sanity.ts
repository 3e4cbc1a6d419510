import { TriggerFsError } from '../../protocol/errors.ts';

const MAX_DEPTH = 16;

/**
 * Refuses what PostgreSQL cannot store (NUL characters, lone surrogates) and JSON that is nested deeper than anything
 * of ours, before schemas look at it. Walks without recursion.
 * @throws TriggerFsError TFS_BAD_REQUEST
 */
export function assertSane(value: unknown): void {
  const open: [unknown, number][] = [[value, 0]];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    const [item, depth] = next;
    if (typeof item === 'string') assertText(item);
    if (typeof item !== 'object' || item === null) continue;
    if (depth >= MAX_DEPTH) throw new TriggerFsError('TFS_BAD_REQUEST', `the request is nested deeper than ${MAX_DEPTH} levels`);
    for (const [key, child] of Object.entries(item)) {
      assertText(key);
      open.push([child, depth + 1]);
    }
  }
}

function assertText(text: string): void {
  if (text.includes('\0')) throw new TriggerFsError('TFS_BAD_REQUEST', 'the request contains a NUL character');
  if (!text.isWellFormed()) throw new TriggerFsError('TFS_BAD_REQUEST', 'the request contains half a character (a lone surrogate)');
}
