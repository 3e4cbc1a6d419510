import type { Message } from './message.ts';

/** Messages of one trigger that are kept in memory; the rest waits in the database. */
export const QUEUE_MESSAGES = 32_768;
export const QUEUE_BYTES = 8 * 1024 * 1024;

/**
 * The messages of one trigger that nobody has taken yet, in order. It holds the oldest of them; once it is full it
 * `overflows`: newer messages are only in the spool's files, and are loaded when the ones in memory are taken.
 */
export class MessageQueue {
  #messages: Message[] = [];
  #head = 0;
  #bytes = 0;
  /** Sequence of the newest message that ever was in memory; everything newer is in the database when it overflows. */
  lastSequence = 0;
  /** Sequence of the newest message accepted in this process, in memory or not. */
  newestSequence = 0;
  overflows: boolean;

  /** `overflows`: there are messages in the database already. */
  constructor(overflows: boolean) {
    this.overflows = overflows;
  }

  /** Messages in memory. */
  get length(): number {
    return this.#messages.length - this.#head;
  }

  /** No more messages are taken into memory. */
  get full(): boolean {
    return this.length >= QUEUE_MESSAGES || this.#bytes >= QUEUE_BYTES;
  }

  /** Adds the newest message, in memory if there is room. */
  push(message: Message): void {
    this.newestSequence = message.sequence;
    if (this.overflows || this.full) this.overflows = true;
    else this.#append(message);
  }

  /** Takes over messages read from the database. */
  load(messages: readonly Message[]): void {
    for (const message of messages) this.#append(message);
  }

  /** Removes and returns the oldest message in memory. */
  shift(): Message | undefined {
    const message = this.#messages[this.#head];
    if (message === undefined) return undefined;
    this.#bytes -= message.payload.length;
    this.#head += 1;
    if (this.#head === this.#messages.length) {
      this.#messages = [];
      this.#head = 0;
    } else if (this.#head >= QUEUE_MESSAGES) {
      this.#messages = this.#messages.slice(this.#head);
      this.#head = 0;
    }
    return message;
  }

  #append(message: Message): void {
    this.#messages.push(message);
    this.#bytes += message.payload.length;
    this.lastSequence = message.sequence;
  }
}
