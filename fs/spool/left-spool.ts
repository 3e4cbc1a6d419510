import { TriggerFsError } from '../../protocol/errors.ts';
import { InvocationIds } from '../../runtime/wire/invocation-id.ts';
import { openSpoolFiles, type SpoolFiles } from './files.ts';
import type { Message } from './message.ts';

/** What is handed over at once. */
const BATCH_MESSAGES = 1000;
const BATCH_BYTES = 4 * 1024 * 1024;

/** The spool of a process that has ended, while another one takes its messages over. */
export class LeftSpool {
  readonly #files: SpoolFiles;

  private constructor(files: SpoolFiles) {
    this.#files = files;
  }

  /** Null while a process uses it. @throws TriggerFsError TFS_CONFIG when its files cannot be read */
  static open(folder: string): LeftSpool | null {
    try {
      return new LeftSpool(openSpoolFiles(folder, new InvocationIds(), 0));
    } catch (error) {
      if (error instanceof TriggerFsError && error.code === 'TFS_CONFLICT') return null;
      throw error;
    }
  }

  /** Whether nothing waits in it any more. */
  get isEmpty(): boolean {
    return this.#files.store.pending().length === 0;
  }

  /** The oldest messages of one of its triggers; none when it is empty. They stay until they are dropped. */
  next(): Message[] {
    const trigger = this.#files.store.pending()[0]?.trigger;
    return trigger === undefined ? [] : this.#files.store.readMessages(trigger, 0, BATCH_MESSAGES, BATCH_BYTES);
  }

  /** Forgets messages that are in another spool now. */
  drop(messages: readonly Message[]): void {
    const { store } = this.#files;
    store.transaction(false, () => {
      for (const { sequence } of messages) store.deleteMessage(sequence);
    });
  }

  /** Lets the next process in. */
  close(): void {
    this.#files.recovered.journal.close();
    this.#files.store.close();
    this.#files.lock.release();
  }
}
