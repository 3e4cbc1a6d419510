import type { Readable } from 'node:stream';

const MAX_LINE = 4096;

/** Hands over the lines of a text stream, without control characters, long ones in pieces. */
export function logLines(source: Readable, log: (line: string) => void): void {
  let rest = '';
  source.setEncoding('utf8');
  source.on('data', (text: string) => {
    const lines = (rest + text).split('\n');
    rest = lines.pop() ?? '';
    if (rest.length > MAX_LINE) lines.push(rest.slice(0, MAX_LINE));
    if (rest.length > MAX_LINE) rest = '';
    for (const line of lines) if (line !== '') log(line.replaceAll(/\p{Cc}/gu, ' '));
  });
  source.on('end', () => {
    if (rest !== '') log(rest.replaceAll(/\p{Cc}/gu, ' '));
  });
  source.on('error', () => undefined);
}
