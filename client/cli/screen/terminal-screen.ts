import { Sink } from '../../program/sink.ts';
import type { ConsoleScreen } from './console-screen.ts';
import type { Keyboard } from './keyboard.ts';
import { isLong, page } from './pager.ts';
import { readAnswer } from './question.ts';

const DEFAULT_ROWS = 24;
const DEFAULT_COLUMNS = 80;

/** The terminal of a person. */
export class TerminalScreen implements ConsoleScreen {
  readonly interactive = true;
  readonly colour: boolean;
  readonly out: Sink;
  readonly err: Sink;
  readonly #keyboard: Keyboard;
  readonly #stdout: NodeJS.WriteStream;
  /** Somebody else uses the terminal. */
  #lent = false;

  constructor(keyboard: Keyboard, stdout: NodeJS.WriteStream, options: { colour: boolean; onBroken: (error: Error) => void }) {
    this.#keyboard = keyboard;
    this.#stdout = stdout;
    this.colour = options.colour;
    this.out = new Sink(stdout, options.onBroken);
    this.err = this.out;
  }

  get lent(): boolean {
    return this.#lent;
  }

  async show(lines: readonly string[], noMore: boolean): Promise<void> {
    if (lines.length === 0) return;
    const terminal = {
      rows: this.#stdout.rows || DEFAULT_ROWS,
      columns: this.#stdout.columns || DEFAULT_COLUMNS,
      write: (text: string): void => this.out.write(text),
    };
    if (noMore || !isLong(lines, terminal)) this.out.write(`${lines.join('\n')}\n`);
    else {
      const stdout = this.#stdout;
      await page(lines, this.#keyboard, {
        get rows(): number {
          return stdout.rows || DEFAULT_ROWS;
        },
        get columns(): number {
          return stdout.columns || DEFAULT_COLUMNS;
        },
        write: terminal.write,
      });
    }
    await this.out.ready();
  }

  ask(question: string, muted: boolean): Promise<string> {
    return readAnswer(this.#keyboard, question, muted, (text) => this.out.write(text));
  }

  async lend<T>(work: () => Promise<T>): Promise<T> {
    const ignore = (): void => undefined;
    this.#lent = true;
    this.#keyboard.close();
    process.on('SIGINT', ignore);
    try {
      return await work();
    } finally {
      process.off('SIGINT', ignore);
      this.#keyboard.open();
      this.#lent = false;
    }
  }
}
