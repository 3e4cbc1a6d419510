import { createReadStream, statSync } from 'node:fs';
import { createInterface } from 'node:readline';

/** Size of a file; 0 while it does not exist. */
export function fileBytes(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0;
}

/** Looks at every line of a file in order and returns how many there are. `check` throws for a line that is wrong. */
export async function checkLines(path: string, check: (line: string, number: number) => void): Promise<number> {
  let lines = 0;
  for await (const line of createInterface({ input: createReadStream(path) })) {
    lines += 1;
    check(line, lines);
  }
  return lines;
}
