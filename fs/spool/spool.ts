import type { Log } from '../../runtime/logging.ts';
import type { FileLock } from '../../runtime/sqlite/file-lock.ts';
import { InvocationIds } from '../../runtime/wire/invocation-id.ts';
import { FsError } from '../errno.ts';
import { openSpoolFiles } from './files.ts';
import type { Journal } from './journal.ts';
import type { Message, Part, StoredResponse } from './message.ts';
import { MessageQueue, QUEUE_BYTES, QUEUE_MESSAGES } from './queue.ts';
import { appendPart } from './recovery.ts';
import { Settler } from './settler.ts';
import type { SpoolStore } from './store.ts';

/** What a message costs beside its payload, for the size limit. */
const OVERHEAD_BYTES = 64;
/** The journal is settled into the database when it holds this much. */
const SETTLE_BYTES = 16 * 1024 * 1024;
/** A journal that cannot be settled may grow to this before writes are refused. */
const JOURNAL_LIMIT_BYTES = 128 * 1024 * 1024;
/** How long a process that is about to end may keep the next one waiting. */
const OPEN_WAIT_MS = 2_000;
const IDLE_SETTLE_MS = 500;
const RETRY_SETTLE_MS = 2_000;

/** Options of `Spool.open`. */
export interface SpoolOptions {
  /** Folder of its files; made when missing. */
  readonly folder: string;
  /** Bytes above which writes are refused. */
  readonly limitBytes: number;
  readonly log: Log;
  /** Called (outside of any write) when a trigger has messages to send. */
  readonly onAccepted: (trigger: number) => void;
}

interface NewPart {
  readonly trigger: number;
  readonly handle: number;
  readonly data: Buffer;
}

/**
 * The local spool: what was written and not yet answered, in order per trigger.
 *
 * A message is accepted (in the journal, so it survives kill -9) → settled (moved to the database in bulk, only if it
 * is still unanswered by then) → done (answered or dead; its journal record or row is void). A healthy system rarely
 * touches the database: most messages are done before the journal is settled.
 */
export class Spool {
  readonly #store: SpoolStore;
  readonly #journal: Journal;
  readonly #settler: Settler;
  readonly #lock: FileLock;
  readonly #options: SpoolOptions;
  readonly #ids = new InvocationIds();
  readonly #queues = new Map<number, MessageQueue>();
  readonly #parts = new Map<number, Part>();
  readonly #woken = new Set<number>();
  /** Messages of earlier processes, which may have been sent before. */
  readonly #inherited: { readonly first: number; readonly last: number }[];
  #sequence: number;
  #generation: number;
  // What the next commit is about.
  readonly #batch: Message[] = [];
  #newPart: NewPart | null = null;
  #consumed = 0;
  #answered: number[] = [];
  #usedBytes: number;
  #turn: NodeJS.Immediate | null = null;
  #settleTimer: NodeJS.Timeout | null = null;
  #closed = false;

  /** Opens a spool and brings back what an earlier process left. @throws TriggerFsError TFS_CONFLICT when it is in use, TFS_SPOOL_FULL when its disk is */
  static open(options: SpoolOptions): Spool {
    return new Spool(options);
  }

  private constructor(options: SpoolOptions) {
    this.#options = options;
    const { lock, store, recovered } = openSpoolFiles(options.folder, this.#ids, OPEN_WAIT_MS);
    this.#lock = lock;
    this.#store = store;
    this.#settler = new Settler(store, options.limitBytes / 10, options.log);
    this.#journal = recovered.journal;
    this.#generation = recovered.generation;
    this.#sequence = recovered.lastSequence;
    this.#inherited = [{ first: 0, last: recovered.lastSequence }];
    this.#usedBytes = 0;
    for (const { trigger, messages, bytes } of this.#store.pending()) {
      this.#usedBytes += bytes + messages * OVERHEAD_BYTES;
      this.#queues.set(trigger, new MessageQueue(true));
    }
  }

  /** Triggers that have messages from an earlier process. */
  get triggers(): readonly number[] {
    return [...this.#queues.keys()];
  }

  /** Bytes of unanswered messages, and the limit. */
  get usage(): { readonly usedBytes: number; readonly limitBytes: number } {
    return { usedBytes: this.#usedBytes, limitBytes: this.#options.limitBytes };
  }

  /** The store, for what is neither message nor response. */
  readState(key: string): string | null {
    return this.#store.readState(key);
  }

  /** Keeps a value for the next process. */
  writeState(key: string, value: string): void {
    this.#store.writeState(key, value);
  }

  /**
   * Collects a message for the next `commit`. `payload` is kept: it must be the caller's own copy.
   * `handle` is the open file whose parts it contains; 0 for none.
   */
  message(trigger: number, payload: Buffer, handle: number): void {
    this.#sequence += 1;
    const message: Message = {
      sequence: this.#sequence,
      trigger,
      invocation: this.#ids.next(),
      acceptedAt: Date.now(),
      payload,
      resume: false,
      settled: false,
      done: false,
    };
    this.#batch.push(message);
    if (handle !== 0) this.#consumed = handle;
    this.#journal.message(message, handle);
  }

  /**
   * Takes over messages of another spool, in their order, safe against power loss; they keep their ids and their age.
   * @throws FsError ENOSPC with none taken over
   */
  adopt(messages: readonly Message[]): void {
    const first = this.#sequence + 1;
    for (const { trigger, invocation, acceptedAt, payload } of messages) {
      this.#sequence += 1;
      const message = { sequence: this.#sequence, trigger, invocation, acceptedAt, payload, resume: true, settled: false, done: false };
      this.#batch.push(message);
      this.#journal.message(message, 0);
    }
    this.commit(true);
    this.#inherited.push({ first, last: this.#sequence });
  }

  /** Collects bytes of an open file that are no message yet; `data` is kept. */
  part(trigger: number, handle: number, data: Buffer): void {
    this.#newPart = { trigger, handle, data };
    this.#journal.part(trigger, handle, data);
  }

  /** Collects the note that the parts of an open file are void. */
  drop(handle: number): void {
    this.#consumed = handle;
    this.#journal.drop(handle);
  }

  /** The bytes of an open file that are no message yet. */
  parts(handle: number): Part | undefined {
    return this.#parts.get(handle);
  }

  /**
   * Makes what was collected safe, all or nothing; one commit is about one open file.
   * `sync`: also against power loss.
   * @throws FsError ENOSPC when the spool or the disk is full
   */
  commit(sync: boolean): void {
    const batch = this.#batch;
    const bytes = this.#batchBytes();
    try {
      this.#checkRoom(bytes);
      this.#journal.commit(sync);
    } catch (error) {
      this.#journal.rollback();
      this.#forgetBatch();
      throw error instanceof FsError ? error : new FsError('ENOSPC', 'the spool cannot be written', { cause: error });
    }
    this.#usedBytes += bytes;
    this.#applyParts();
    for (const message of batch) this.#queue(message);
    if (sync) this.#settler.requireDurable();
    this.#forgetBatch();
    this.#schedule();
  }

  /** Notes that an open file was closed: should this process die now, its parts are still a message. @throws FsError */
  closed(handle: number, sync: boolean): void {
    const part = this.#parts.get(handle);
    if (part === undefined || part.closed) return;
    this.#journal.closed(handle);
    this.commit(sync);
    part.closed = true;
  }

  /** Makes everything accepted so far safe against power loss. */
  sync(): void {
    if (!this.#closed) this.#journal.commit(true);
  }

  /** Sequence of the newest message of a trigger that this process accepted; 0 for none. */
  newest(trigger: number): number {
    return this.#queues.get(trigger)?.newestSequence ?? 0;
  }

  /** Takes the next message of a trigger, oldest first; null when there is none. It is the caller's until `done` or `dead`. */
  next(trigger: number): Message | null {
    const queue = this.#queues.get(trigger);
    if (queue === undefined) return null;
    if (queue.length === 0 && queue.overflows && !this.#load(trigger, queue)) return null;
    return queue.shift() ?? null;
  }

  /** The message was answered: it is never sent again. */
  done(message: Message): void {
    this.#finish(message);
    this.#answered.push(message.sequence);
    this.#schedule();
  }

  /** The message is given up; it is kept in the table dead_letters. */
  dead(message: Message, path: string, reason: string): void {
    this.#finish(message);
    this.#settler.bury({ message, path, reason });
    this.#schedule();
  }

  /** Keeps the last response of a trigger; it reaches the disk with the next settling. */
  saveResponse(trigger: number, response: StoredResponse): void {
    this.#settler.respond(trigger, response);
    this.#schedule();
  }

  /** The last responses that an earlier process kept. */
  readResponses(): Map<number, StoredResponse> {
    return this.#store.readResponses();
  }

  /** Moves everything to the database. Returns false (and tries again later) when the database cannot take it. */
  settle(): boolean {
    const generation = this.#generation + 1;
    if (!this.#settler.settle(this.#parts, generation)) return false;
    this.#generation = generation;
    this.#journal.restart(generation);
    this.#answered = [];
    return true;
  }

  /** Settles and closes the files. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    if (this.#turn !== null) clearImmediate(this.#turn);
    if (this.#settleTimer !== null) clearTimeout(this.#settleTimer);
    if (this.settle()) this.#store.shrink();
    this.#journal.close();
    this.#store.close();
    this.#lock.release();
  }

  #checkRoom(bytes: number): void {
    if (this.#closed) throw new FsError('EIO', 'the spool is closed');
    if (bytes <= 0) return;
    if (this.#usedBytes + bytes > this.#options.limitBytes) {
      throw new FsError('ENOSPC', `the spool holds ${this.#usedBytes} bytes, its limit is ${this.#options.limitBytes}`);
    }
    if (this.#journal.position + this.#journal.collected > JOURNAL_LIMIT_BYTES) {
      throw new FsError('ENOSPC', 'the spool’s database cannot be written');
    }
  }

  /** What the batch adds to the used bytes; turning parts into a message adds nothing, so that it never fails for room. */
  #batchBytes(): number {
    let bytes = 0;
    for (const message of this.#batch) bytes += message.payload.length + OVERHEAD_BYTES;
    if (this.#consumed !== 0) bytes -= partBytes(this.#parts.get(this.#consumed));
    const added = this.#newPart;
    if (added === null) return bytes;
    const fresh = added.handle === this.#consumed || !this.#parts.has(added.handle);
    return bytes + added.data.length + (fresh ? OVERHEAD_BYTES : 0);
  }

  #applyParts(): void {
    if (this.#consumed !== 0) this.#parts.delete(this.#consumed);
    const added = this.#newPart;
    if (added !== null) appendPart(this.#parts, added.trigger, added.handle, added.data);
  }

  #forgetBatch(): void {
    this.#batch.length = 0;
    this.#newPart = null;
    this.#consumed = 0;
  }

  #queue(message: Message): void {
    this.#settler.accept(message);
    let queue = this.#queues.get(message.trigger);
    if (queue === undefined) {
      queue = new MessageQueue(false);
      this.#queues.set(message.trigger, queue);
    }
    queue.push(message);
    this.#woken.add(message.trigger);
  }

  #finish(message: Message): void {
    message.done = true;
    this.#usedBytes -= message.payload.length + OVERHEAD_BYTES;
    this.#settler.finish(message);
  }

  /** Reads the next messages of an overflowing queue; false when the database fails. */
  #load(trigger: number, queue: MessageQueue): boolean {
    if (this.#settler.live > 0 && !this.settle()) return false;
    const messages = this.#store.readMessages(trigger, queue.lastSequence, QUEUE_MESSAGES, QUEUE_BYTES);
    for (const message of messages) message.resume = this.#isInherited(message.sequence);
    queue.load(messages);
    queue.overflows = queue.full;
    return true;
  }

  #isInherited(sequence: number): boolean {
    return this.#inherited.some(({ first, last }) => sequence >= first && sequence <= last);
  }

  #schedule(): void {
    if (!this.#closed) this.#turn ??= setImmediate(this.#endTurn);
  }

  /** Passes on what came in, after the writer got its answer. */
  readonly #endTurn = (): void => {
    this.#turn = null;
    for (const trigger of this.#woken) this.#options.onAccepted(trigger);
    this.#woken.clear();
    this.#noteAnswered();
    const full = this.#settler.due || this.#journal.position >= SETTLE_BYTES;
    if (full && !this.#settler.failed) this.settle();
    else this.#settleLater();
  };

  /** Makes answers outlast a crash; rows of settled messages go at the next settling. */
  #noteAnswered(): void {
    if (this.#answered.length === 0) return;
    try {
      this.#journal.answered(this.#answered);
      this.#journal.commit(false);
      this.#answered = [];
    } catch {
      // The disk is full: the next settling deletes the rows, and until then a crash only sends a known id again.
      this.#journal.rollback();
    }
  }

  #settleLater(): void {
    if (this.#settleTimer !== null || this.#closed) return;
    if (!this.#settler.dirty) return;
    this.#settleTimer = setTimeout(
      () => {
        this.#settleTimer = null;
        if (!this.settle()) this.#settleLater();
      },
      this.#settler.failed ? RETRY_SETTLE_MS : IDLE_SETTLE_MS,
    );
    this.#settleTimer.unref();
  }
}

function partBytes(part: Part | undefined): number {
  return part === undefined ? 0 : part.bytes + OVERHEAD_BYTES;
}
