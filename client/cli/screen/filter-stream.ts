import { Writable } from 'node:stream';
import { StringDecoder } from 'node:string_decoder';
import type { Pipeline } from './pipes.ts';

/** Passes the whole lines of live output through the pipes of a command. */
export class FilterStream extends Writable {
  readonly isTTY = false;
  readonly #pipeline: Pipeline;
  readonly #keep: (line: string) => boolean;
  readonly #write: (line: string) => Promise<void>;
  readonly #decoder = new StringDecoder();
  readonly #last: string[] = [];
  #partial = '';
  #count = 0;

  /** `write` takes a line and resolves when more may come. */
  constructor(pipeline: Pipeline, write: (line: string) => Promise<void>) {
    super();
    this.#pipeline = pipeline;
    this.#write = write;
    const filters = pipeline.filters();
    this.#keep = (line) => filters.every((filter) => filter.keep(line));
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    const lines = (this.#partial + this.#decoder.write(chunk)).split('\n');
    this.#partial = lines.pop() ?? '';
    this.#take(lines).then(() => done(), done);
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#finish().then(() => done(), done);
  }

  async #take(lines: readonly string[]): Promise<void> {
    for (const line of lines) {
      if (!this.#keep(line)) continue;
      this.#count += 1;
      if (this.#pipeline.last !== null) {
        this.#last.push(line);
        if (this.#last.length > this.#pipeline.last) this.#last.shift();
      } else if (!this.#pipeline.count) await this.#write(line);
    }
  }

  async #finish(): Promise<void> {
    if (this.#partial !== '') await this.#take([this.#partial]);
    const { count } = this.#pipeline;
    for (const line of count ? [`Count: ${this.#last.length || this.#count} lines`] : this.#last) await this.#write(line);
  }
}
