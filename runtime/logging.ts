import pino, { type Logger } from 'pino';
import { timestamp } from './timestamp.ts';

export type { Logger } from 'pino';
export { timestamp } from './timestamp.ts';

/** The part of a logger that libraries need, so that short programs can do without pino. */
export type Log = Pick<Logger, 'debug' | 'info' | 'warn' | 'error'>;

/** Where and how a process logs. */
export interface LoggingOptions {
  /** `text`: the documented lines `2026/11/21 21:03:01 I: message`; `json`: one pino object per line. */
  readonly format: 'text' | 'json';
  /** pino level; `debug` shows heartbeats. */
  readonly level: string;
  /** Receives whole lines. Default: standard error. */
  readonly write?: (line: string) => void;
  /** Name of the program, in JSON lines. */
  readonly name: string;
}

const LETTERS: Readonly<Record<string, string>> = { trace: 'D', debug: 'D', info: 'I', warn: 'W', error: 'E', fatal: 'E' };
const SECRET_PATHS = [
  'secret',
  'token',
  'password',
  'authorization',
  'secretKey',
  '*.secret',
  '*.token',
  '*.password',
  '*.authorization',
  '*.secretKey',
];

/** Makes the logger of a process. Fields that are known to hold secrets are replaced by `[redacted]`. */
export function createLogger(options: LoggingOptions): Logger {
  const write = options.write ?? ((line: string): void => void process.stderr.write(line));
  const destination = { write: options.format === 'json' ? write : (line: string): void => write(formatLine(line)) };
  return pino({ name: options.name, level: options.level, redact: { paths: SECRET_PATHS, censor: '[redacted]' } }, destination);
}

/** A logger that drops everything, for libraries used without one. */
export function silentLogger(): Logger {
  return pino({ level: 'silent' });
}

function formatLine(line: string): string {
  const entry = JSON.parse(line) as { level: number; time: number; msg?: string; err?: { message?: string; code?: string } };
  const letter = LETTERS[pino.levels.labels[entry.level] ?? 'info'] ?? 'I';
  const error = entry.err?.message === undefined ? '' : `: ${entry.err.message}`;
  return `${timestamp(new Date(entry.time))} ${letter}: ${entry.msg ?? ''}${error}\n`;
}
