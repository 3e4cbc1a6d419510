import { Writable } from 'node:stream';

/** The terminal as the line editor sees it. While commands run it learns nothing of resizes, so that it does not draw into their output. */
export class ReplOutput extends Writable {
  readonly isTTY = true;
  readonly #stdout: NodeJS.WriteStream;
  /** Whether the line editor has the screen. */
  active = true;

  constructor(stdout: NodeJS.WriteStream) {
    super({ decodeStrings: false });
    this.#stdout = stdout;
    stdout.on('resize', () => {
      if (this.active) this.emit('resize');
    });
  }

  get columns(): number {
    return this.#stdout.columns;
  }

  get rows(): number {
    return this.#stdout.rows;
  }

  override _write(chunk: string | Buffer, _encoding: BufferEncoding, done: () => void): void {
    if (this.active) this.#stdout.write(chunk);
    done();
  }
}
