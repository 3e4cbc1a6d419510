import type { Writable } from 'node:stream';

/** Standard output or standard error as the program writes to it: with back-pressure, and surviving a reader that goes away. */
export class Sink {
  readonly #stream: Writable & { readonly isTTY?: boolean };
  #full = false;
  #broken = false;

  /** `onBroken` is called once when writing has become impossible; EPIPE means that the reader has enough. */
  constructor(stream: Writable & { readonly isTTY?: boolean }, onBroken: (error: NodeJS.ErrnoException) => void) {
    this.#stream = stream;
    stream.on('error', (error) => {
      if (this.#broken) return;
      this.#broken = true;
      onBroken(error);
    });
  }

  get isTTY(): boolean {
    return this.#stream.isTTY === true;
  }

  /** Writing has become impossible. */
  get broken(): boolean {
    return this.#broken;
  }

  /** Writes; the caller looks at `ready` now and then. */
  write(data: Buffer | string): void {
    if (!this.#broken && data.length > 0) this.#full = !this.#stream.write(data);
  }

  /** Resolves when the reader has taken so much that more may be written. */
  async ready(): Promise<void> {
    if (!this.#full || this.#broken) return;
    await new Promise<void>((resolve) => {
      const settled = (): void => {
        this.#stream.off('drain', settled).off('error', settled).off('close', settled);
        resolve();
      };
      this.#stream.on('drain', settled).on('error', settled).on('close', settled);
    });
    this.#full = false;
  }

  /** Resolves when everything was handed to the system. */
  async flushed(): Promise<void> {
    if (this.#broken) return;
    await new Promise<void>((resolve) => this.#stream.write('', () => resolve()));
  }
}
