import type { Log } from '../../runtime/logging.ts';
import type { Message, Part, StoredResponse } from './message.ts';
import type { DeadLetter, SpoolStore } from './store.ts';

/** Unanswered messages after which they are moved: a pause of about 40 ms. Most are answered long before. */
const ENOUGH_LIVE = 32_768;
/** Rows to delete that are worth a transaction. */
const ENOUGH_DELETIONS = 1024;
/** Finished messages at the start of the list are let go in pieces of this size. */
const TRIM = 512;

/**
 * What the database has to learn: collected in memory while the journal keeps it safe, then moved in one transaction.
 * Messages that are answered before that never reach the database.
 */
export class Settler {
  readonly #store: SpoolStore;
  readonly #log: Log;
  readonly #deadLetterBytes: number;
  readonly #responses = new Map<number, StoredResponse>();
  #messages: Message[] = [];
  #head = 0;
  #live = 0;
  #deletions: number[] = [];
  #deadLetters: DeadLetter[] = [];
  #durable = false;
  #failed = false;

  /** `deadLetterBytes`: what dead letters may take; the oldest go first. */
  constructor(store: SpoolStore, deadLetterBytes: number, log: Log) {
    this.#store = store;
    this.#deadLetterBytes = deadLetterBytes;
    this.#log = log;
  }

  /** There is enough to move. */
  get due(): boolean {
    return this.#live >= ENOUGH_LIVE || this.#deletions.length >= ENOUGH_DELETIONS;
  }

  /** There is something that only a settling brings to the disk. */
  get dirty(): boolean {
    return this.#deletions.length > 0 || this.#deadLetters.length > 0 || this.#responses.size > 0 || this.#failed;
  }

  /** The last attempt failed. */
  get failed(): boolean {
    return this.#failed;
  }

  /** Messages that are neither answered nor in the database. */
  get live(): number {
    return this.#live;
  }

  /** A message was accepted. */
  accept(message: Message): void {
    this.#messages.push(message);
    this.#live += 1;
  }

  /** The journal holds something that must not be lost with the power. */
  requireDurable(): void {
    this.#durable = true;
  }

  /** A message is done: it needs no row, or its row goes. */
  finish(message: Message): void {
    if (message.settled) {
      this.#deletions.push(message.sequence);
      return;
    }
    this.#live -= 1;
    // Answers come mostly in order; what is let go early costs the garbage collector nothing.
    while (this.#messages[this.#head]?.done === true) this.#head += 1;
    if (this.#head < TRIM) return;
    this.#messages = this.#messages.slice(this.#head);
    this.#head = 0;
  }

  /** A message is given up. */
  bury(letter: DeadLetter): void {
    this.#deadLetters.push(letter);
  }

  /** A trigger has another last response. */
  respond(trigger: number, response: StoredResponse): void {
    this.#responses.set(trigger, response);
  }

  /** Moves everything; `generation` is that of the journal from now on. False when the database fails: nothing is moved then. */
  settle(parts: ReadonlyMap<number, Part>, generation: number): boolean {
    try {
      // What must not be lost with the power has to be on the disk before its journal is overwritten.
      this.#store.transaction(this.#durable, () => this.#move(parts, generation));
    } catch (err) {
      if (!this.#failed) this.#log.error({ err }, 'the spool’s database cannot be written; trying again');
      this.#failed = true;
      return false;
    }
    for (const message of this.#messages) message.settled = true;
    this.#messages = [];
    this.#head = 0;
    this.#live = 0;
    this.#deletions = [];
    this.#deadLetters = [];
    this.#responses.clear();
    this.#durable = false;
    this.#failed = false;
    return true;
  }

  #move(parts: ReadonlyMap<number, Part>, generation: number): void {
    const store = this.#store;
    for (const sequence of this.#deletions) store.deleteMessage(sequence);
    for (const message of this.#messages) if (!message.done) store.insertMessage(message);
    store.replaceParts(parts);
    const now = Date.now();
    for (const letter of this.#deadLetters) store.insertDeadLetter(letter, now);
    if (this.#deadLetters.length > 0) store.trimDeadLetters(this.#deadLetterBytes);
    for (const [trigger, response] of this.#responses) store.saveResponse(trigger, response);
    store.writeState('generation', String(generation));
  }
}
