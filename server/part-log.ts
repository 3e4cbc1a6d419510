import { createWriteStream, existsSync, renameSync, statSync, type WriteStream } from 'node:fs';
import { timestamp } from '../runtime/logging.ts';

const MAX_BYTES = 16 * 1024 * 1024;
const WARNING = 40;
const ERROR = 50;
const KEPT_LINES = 10;

/**
 * The log of one part: every line goes to a file, warnings and errors also to the terminal. Two files of at most
 * 16 MiB are kept, `NAME.log` and `NAME.log.1`.
 */
export class PartLog {
  readonly #name: string;
  readonly #file: string;
  readonly #warn: (line: string) => void;
  readonly #plain: string[] = [];
  #stream: WriteStream | null = null;
  #bytes = 0;
  #rest = '';

  /** `warn` takes lines for the terminal. */
  constructor(name: string, file: string, warn: (line: string) => void) {
    this.#name = name;
    this.#file = file;
    this.#warn = warn;
  }

  /** What the part said last in plain words: the reason when it ended by itself. */
  get lastWords(): string {
    return this.#plain.join('\n');
  }

  /** Takes a piece of the part's standard error. */
  write(chunk: string): void {
    const lines = (this.#rest + chunk).split('\n');
    this.#rest = lines.pop() ?? '';
    for (const line of lines) this.#line(line);
  }

  /** Forgets the last words, before a new start. */
  restart(): void {
    this.#plain.length = 0;
  }

  /** Closes the file. */
  close(): Promise<void> {
    const stream = this.#stream;
    this.#stream = null;
    return new Promise((resolve) => (stream === null ? resolve() : stream.end(() => resolve())));
  }

  #line(line: string): void {
    const entry = parse(line);
    if (entry === null) {
      this.#plain.push(line);
      if (this.#plain.length > KEPT_LINES) this.#plain.shift();
    } else if (entry.level >= WARNING) {
      const error = entry.err?.message === undefined ? '' : `: ${entry.err.message}`;
      const letter = entry.level >= ERROR ? 'E' : 'W';
      this.#warn(`${timestamp(new Date(entry.time))} ${letter}: ${this.#name}: ${entry.msg ?? ''}${error}`);
    }
    this.#append(`${line}\n`);
  }

  #append(text: string): void {
    this.#stream ??= this.#open();
    this.#stream.write(text);
    this.#bytes += text.length;
    if (this.#bytes < MAX_BYTES) return;
    this.#stream.end();
    this.#stream = null;
    renameSync(this.#file, `${this.#file}.1`);
  }

  #open(): WriteStream {
    this.#bytes = existsSync(this.#file) ? statSync(this.#file).size : 0;
    const stream = createWriteStream(this.#file, { flags: 'a', mode: 0o600 });
    stream.on('error', (error) => this.#warn(`${this.#name}: cannot write ${this.#file}: ${error.message}`));
    return stream;
  }
}

interface LogEntry {
  readonly level: number;
  readonly time: number;
  readonly msg?: string;
  readonly err?: { readonly message?: string };
}

function parse(line: string): LogEntry | null {
  if (!line.startsWith('{')) return null;
  try {
    const entry = JSON.parse(line) as Partial<LogEntry>;
    return typeof entry.level === 'number' && typeof entry.time === 'number' ? (entry as LogEntry) : null;
  } catch {
    return null;
  }
}
