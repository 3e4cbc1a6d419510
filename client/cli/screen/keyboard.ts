import { Readable } from 'node:stream';
import { setImmediate, setTimeout as sleep } from 'node:timers/promises';
import type { ReadStream } from 'node:tty';

/** Keys that the console looks at before the line editor does: help, and the end of the input. */
const SPECIAL = ['?', '\x04'];
/** How often it is looked whether the line editor, which may be busy, has taken the keys. */
const CONSUMED_MS = 2;
const ENTER = ['\r', '\n'];
const TAB = '\t';
const ESCAPE = '\x1b';

/**
 * The keys of a terminal, on their way to the line editor. While a command runs they wait here, so that what is typed
 * ahead does not mix with output, and pasted lines run one after the other. Questions and the pager take keys first.
 */
export class Keyboard extends Readable {
  readonly isTTY = true;
  readonly #stdin: ReadStream;
  #waiting = '';
  #held = false;
  #pumping = false;
  #taker: ((key: string) => void) | null = null;
  #interrupted: (() => void) | null = null;
  /** Looks at a special key before the line editor gets it; true keeps it. */
  onKey: (key: string) => boolean = () => false;

  constructor(stdin: ReadStream) {
    super({ encoding: 'utf8' });
    this.#stdin = stdin;
    stdin.setEncoding('utf8');
  }

  /** Begins to read keys one by one. */
  open(): void {
    this.#setRaw(true);
    this.#stdin.on('data', this.#typed).once('end', this.#ended).once('error', this.#ended);
    this.#stdin.resume();
  }

  /** Leaves the terminal as it was found. */
  close(): void {
    this.#stdin.off('data', this.#typed).off('end', this.#ended).off('error', this.#ended);
    this.#setRaw(false);
    this.#stdin.pause();
  }

  /** The line editor switches modes at its end; the terminal stays ours until `close`. */
  setRawMode(): this {
    return this;
  }

  override _read(): void {}

  /** Keeps keys back; Ctrl-C calls `interrupted` instead. */
  hold(interrupted: () => void): void {
    this.#held = true;
    this.#interrupted = interrupted;
  }

  /** Lets keys through again, first those that came meanwhile. */
  release(): void {
    this.#held = false;
    this.#interrupted = null;
    void this.#pump();
  }

  /** Gives every further key to `taker`; null ends that. */
  divert(taker: ((key: string) => void) | null): void {
    this.#taker = taker;
    if (taker === null) return;
    const typed = this.#waiting;
    this.#waiting = '';
    for (const key of typed) this.#taker?.(key);
  }

  /** A terminal that was closed cannot be set any more; its end comes as an event. */
  #setRaw(raw: boolean): void {
    if (this.#stdin.destroyed) return;
    try {
      this.#stdin.setRawMode(raw);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EIO') throw error;
    }
  }

  readonly #typed = (chunk: Buffer | string): void => {
    const keys = String(chunk);
    if (this.#taker !== null) {
      // An escape sequence is one key; everything else comes apart.
      if (keys.startsWith('\x1b')) this.#taker(keys);
      else for (const key of keys) this.#give(key);
      return;
    }
    if (this.#held && keys.includes('\x03')) {
      this.#waiting = '';
      this.#interrupted?.();
      return;
    }
    this.#waiting += keys;
    void this.#pump();
  };

  /** A question that ends in the middle of a paste leaves the rest to whoever comes next. */
  #give(key: string): void {
    if (this.#taker === null) this.#waiting += key;
    else this.#taker(key);
  }

  readonly #ended = (): void => {
    this.#taker?.('\x04');
    this.#interrupted?.();
    this.push(null);
  };

  async #pump(): Promise<void> {
    if (this.#pumping) return;
    this.#pumping = true;
    while (!this.#held && this.#waiting !== '') {
      const part = nextPart(this.#waiting);
      this.#waiting = this.#waiting.slice(part.length);
      if (!SPECIAL.includes(part) || !this.onKey(part)) this.push(part);
      // The line that these keys complete begins to run meanwhile, which holds the rest.
      await setImmediate();
      while (this.readableLength > 0 && !this.destroyed) await sleep(CONSUMED_MS);
    }
    this.#pumping = false;
  }
}

/**
 * A special key, or the text before the next one, up to and with the end of its line. Escape sequences may contain any key
 * and are not divided. The line editor takes a tab with more text behind it for a pasted blank; others come one by one.
 */
function nextPart(keys: string): string {
  if (keys.startsWith(ESCAPE)) return keys;
  for (let at = 0; at < keys.length; at += 1) {
    const key = keys[at] as string;
    if (ENTER.includes(key)) return keys.slice(0, at + 1);
    const stop = SPECIAL.includes(key) || (key === TAB && keys.slice(at).trim() === '');
    if (stop) return keys.slice(0, Math.max(at, 1));
  }
  return keys;
}
