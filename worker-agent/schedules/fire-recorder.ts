import type { Log } from '../../runtime/logging.ts';
import type { FireEnd } from './fire.ts';
import { FireOutput } from './fire-output.ts';
import type { Journal } from './journal.ts';

const FLUSH_MS = 250;

interface Recording {
  readonly output: FireOutput;
  end: Omit<FireEnd, 'droppedBytes'> | null;
}

/** Options of the recorder. */
export interface FireRecorderOptions {
  readonly journal: Journal;
  /** Bytes of output that the journal may hold. */
  readonly limit: number;
  /** Fires have ended and stand in the journal. */
  readonly ended: () => void;
  readonly log: Log;
}

/**
 * Writes output and ends of fires to the journal, many in one transaction: four times a second, when a block is full, and when
 * fires end. Where the journal has no room left, the oldest output goes first, then the newest; ends are tried again for ever.
 */
export class FireRecorder {
  readonly #options: FireRecorderOptions;
  readonly #recordings = new Map<number, Recording>();
  #bytes: number;
  #timer: NodeJS.Timeout | null = null;
  #soon: NodeJS.Immediate | null = null;
  #failing = false;

  constructor(options: FireRecorderOptions) {
    this.#options = options;
    this.#bytes = options.journal.outputBytes();
  }

  /** A fire begins. */
  open(sequence: number): void {
    this.#recordings.set(sequence, { output: new FireOutput(sequence), end: null });
  }

  /** The fire does not run after all. */
  discard(sequence: number): void {
    this.#recordings.delete(sequence);
  }

  output(sequence: number, flags: number, source: Buffer, start: number, end: number): void {
    const recording = this.#recordings.get(sequence);
    if (recording === undefined || start === end) return;
    recording.output.append(flags, source, start, end);
    if (recording.output.full) this.flush();
    else this.#schedule();
  }

  end(sequence: number, end: Omit<FireEnd, 'droppedBytes'>): void {
    const recording = this.#recordings.get(sequence);
    if (recording === undefined) return;
    recording.end = end;
    this.#soon ??= setImmediate(() => this.flush());
  }

  /** A fire was confirmed and deleted: its output makes room. */
  freed(bytes: number): void {
    this.#bytes = Math.max(this.#bytes - bytes, 0);
  }

  /** Writes everything now; output gives way when there is no room. */
  flush(): void {
    this.#cancel();
    try {
      this.#write();
    } catch {
      this.makeRoom();
      this.#writeRest();
    }
  }

  /** Writes what it can and stops. */
  stop(): void {
    this.flush();
    this.#cancel();
  }

  #writeRest(): void {
    try {
      this.#write();
    } catch (err) {
      if (!this.#failing) this.#options.log.error({ err }, 'cannot write the journal of resident schedules, trying again');
      this.#failing = true;
      this.#schedule();
    }
  }

  #write(): void {
    const { journal, limit } = this.#options;
    const done: number[] = [];
    const settle: (() => void)[] = [];
    let grown = 0;
    journal.transaction(false, () => {
      for (const [sequence, { output, end }] of this.#recordings) {
        const flushed = output.flush(journal);
        grown += flushed.grown;
        settle.push(flushed.settle);
        if (end === null) continue;
        journal.end(sequence, { ...end, droppedBytes: flushed.dropped });
        done.push(sequence);
      }
      while (this.#bytes + grown > limit) {
        const dropped = journal.dropOldestOutput();
        if (dropped === 0) break;
        grown -= dropped;
      }
    });
    this.#failing = false;
    this.#bytes += grown;
    for (const settled of settle) settled();
    for (const sequence of done) this.#recordings.delete(sequence);
    if (done.length > 0) this.#options.ended();
  }

  /** The journal is full or the disk is: output goes, so that the facts of the fires fit. */
  makeRoom(): void {
    try {
      this.#options.journal.transaction(false, () => this.freed(this.#options.journal.dropOldestOutput()));
    } catch {
      // Not even deleting works: what is in memory must not grow meanwhile.
    }
    for (const { output } of this.#recordings.values()) output.drop();
  }

  #schedule(): void {
    this.#timer ??= setTimeout(() => {
      this.#timer = null;
      this.flush();
    }, FLUSH_MS);
  }

  #cancel(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    if (this.#soon !== null) clearImmediate(this.#soon);
    this.#timer = null;
    this.#soon = null;
  }
}
