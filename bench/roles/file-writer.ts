import { closeSync, openSync, writeSync } from 'node:fs';
import type { Role } from './role.ts';

/** Every line has this many bytes, newline included. */
export const LINE_BYTES = 128;

/** What a writer has done since it was started. */
export interface WriterResult {
  readonly perSecond: number;
  /** Lines written so far, all rounds together; line n begins with n in 12 digits. */
  readonly lines: number;
}

const NUMBER_DIGITS = 12;
/** Lines between two looks at the clock. */
const BLOCK = 32;

/** Writes numbered lines to one file through one descriptor, a write(2) each; a command is the time of a round in milliseconds. */
export async function start({ path }: { readonly path: string }): Promise<Role> {
  const fd = openSync(path, 'w');
  const line = Buffer.alloc(LINE_BYTES, '.');
  line[LINE_BYTES - 1] = 0x0a;
  let lines = 0;
  const round = (ms: number): WriterResult => {
    const startedAt = performance.now();
    const first = lines;
    let now = startedAt;
    while (now - startedAt < ms) {
      for (let i = 0; i < BLOCK; i += 1) {
        lines += 1;
        line.write(String(lines).padStart(NUMBER_DIGITS, '0'), 0, 'latin1');
        if (writeSync(fd, line) !== LINE_BYTES) throw new Error(`line ${lines} was written in part`);
      }
      now = performance.now();
    }
    return { perSecond: (lines - first) / ((now - startedAt) / 1000), lines };
  };
  return { call: async (ms) => round(ms as number), stop: async () => closeSync(fd) };
}

/** Whether a text is line `number` without its newline. */
export function isLine(text: string, number: number): boolean {
  return text.length === LINE_BYTES - 1 && text.startsWith(`${String(number).padStart(NUMBER_DIGITS, '0')}.`);
}
