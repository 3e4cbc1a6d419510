/** Bytes that wait for a slow terminal or disk before lines are left out. */
const LIMIT_BYTES = 4 * 1024 * 1024;

/** Where text goes: a writable stream. */
export interface TextStream {
  write(text: string): boolean;
  once(event: 'drain', listener: () => void): unknown;
}

/**
 * Writes lines without ever waiting: what a burst brings is collected during a turn and written together. When the
 * other side is slower than the responses come, lines beyond a limit are left out, and a line says how many.
 */
export class LineSink {
  readonly #stream: TextStream;
  #lines: string[] = [];
  #bytes = 0;
  #dropped = 0;
  #waiting = false;
  #turn: NodeJS.Immediate | null = null;

  constructor(stream: TextStream) {
    this.#stream = stream;
  }

  /** Adds a line, without its newline. */
  add(line: string): void {
    if (this.#bytes > LIMIT_BYTES) {
      this.#dropped += 1;
      return;
    }
    this.#lines.push(line);
    this.#bytes += line.length;
    if (!this.#waiting) this.#turn ??= setImmediate(() => this.flush());
  }

  /** Hands over what was collected. */
  flush(): void {
    if (this.#turn !== null) clearImmediate(this.#turn);
    this.#turn = null;
    if (this.#dropped > 0) this.#lines.push(`(${this.#dropped} lines left out: they came faster than they could be written)`);
    if (this.#lines.length === 0) return;
    const text = `${this.#lines.join('\n')}\n`;
    this.#lines = [];
    this.#bytes = 0;
    this.#dropped = 0;
    if (this.#stream.write(text)) return;
    this.#waiting = true;
    this.#stream.once('drain', () => {
      this.#waiting = false;
      this.flush();
    });
  }
}
