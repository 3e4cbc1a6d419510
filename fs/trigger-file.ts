import type { Framing, TreeTrigger } from '../protocol/http/tree.ts';
import { LIMITS } from '../protocol/limits.ts';
import { type ErrnoName, FsError } from './errno.ts';
import { splitLines } from './framing.ts';
import type { Part } from './spool/message.ts';

/** After a close that leaves other holders of the file, the bytes so far become a message if nothing follows for this long. */
export const QUIET_MS = 1_000;

/** What an open trigger file asks of the spool. */
export interface Intake {
  message(trigger: number, payload: Buffer, handle: number): void;
  part(trigger: number, handle: number, data: Buffer): void;
  drop(handle: number): void;
  parts(handle: number): Part | undefined;
  closed(handle: number, sync: boolean): void;
  commit(sync: boolean): void;
}

const NO_CHUNKS: readonly Buffer[] = [];

/**
 * One open trigger file: turns the bytes written to it into messages of the spool.
 *
 *   clean ──bytes without an end──▶ pending ──flush──▶ closed ──release, or quiet──▶ clean
 *     ▲───────message complete────────┘  ▲────write──────┘
 *   pending ──write refused──▶ broken
 *
 * pending: bytes wait in the spool for a newline or for the close. closed: someone closed the file, but processes that
 * inherited it may go on writing; only the last close (release), or a second of quiet, makes the bytes a message.
 * broken: part of a message was refused, so the rest is void and every call says why until the file is opened anew:
 * half a command must never run. With framing `write` a file is always clean.
 */
export class TriggerFile {
  readonly #intake: Intake;
  readonly #handle: number;
  readonly #find: () => TreeTrigger | undefined;
  readonly #trigger: number;
  readonly #framing: Framing;
  #broken: ErrnoName | null = null;
  #quiet: NodeJS.Timeout | null = null;

  /** `find` gives the trigger as it is now; undefined once it is gone. */
  constructor(intake: Intake, handle: number, trigger: TreeTrigger, find: () => TreeTrigger | undefined) {
    this.#intake = intake;
    this.#handle = handle;
    this.#find = find;
    this.#trigger = trigger.id;
    this.#framing = trigger.framing;
  }

  /**
   * Accepts bytes; `data` is only borrowed.
   * @throws FsError ENOENT (trigger gone), EINVAL (no plugin or service), EFBIG, ENOSPC
   */
  write(data: Buffer): number {
    if (data.length === 0) return 0;
    if (this.#broken !== null) throw new FsError(this.#broken, 'an earlier part of this message was refused');
    const sync = this.#check();
    const copy = Buffer.from(data);
    if (this.#framing === 'write') {
      this.#intake.message(this.#trigger, copy, 0);
      this.#intake.commit(sync);
    } else {
      this.#stopQuiet();
      this.#guarded(() => this.#writeFramed(copy, sync));
    }
    return data.length;
  }

  /** One holder closes the file. @throws FsError when its bytes were refused */
  flush(): void {
    if (this.#broken !== null) throw new FsError(this.#broken, 'the message was refused');
    if (this.#pending === undefined) return;
    this.#guarded(() => this.#intake.closed(this.#handle, this.#find()?.durability === 'fsync'));
    this.#stopQuiet();
    this.#quiet = setTimeout(() => this.#finishQuietly(), QUIET_MS);
    this.#quiet.unref();
  }

  /** The last holder closed the file. */
  release(): void {
    this.#stopQuiet();
    this.#finish();
  }

  get #pending(): Part | undefined {
    return this.#intake.parts(this.#handle);
  }

  /** Returns whether the trigger asks for safety against power loss. */
  #check(): boolean {
    const trigger = this.#find();
    if (trigger === undefined) throw new FsError('ENOENT', 'the trigger was removed');
    if (trigger.plugin === null || trigger.service === null) {
      throw new FsError('EINVAL', `${trigger.path} has no ${trigger.plugin === null ? 'plugin' : 'service'}`);
    }
    return trigger.durability === 'fsync';
  }

  #writeFramed(data: Buffer, sync: boolean): void {
    const pending = this.#pending;
    const { messages, rest } = this.#framing === 'line' ? splitLines(pending?.chunks ?? NO_CHUNKS, data) : { messages: [], rest: data };
    const waiting = (messages.length === 0 ? (pending?.bytes ?? 0) : 0) + (rest?.length ?? 0);
    const longest = Math.max(waiting, ...(messages.length === 0 ? [] : [(messages[0] as Buffer).length]));
    if (longest > LIMITS.payloadBytes) {
      throw new FsError('EFBIG', `a message has more than ${LIMITS.payloadBytes} bytes`);
    }
    messages.forEach((message, index) => {
      this.#intake.message(this.#trigger, message, index === 0 && pending !== undefined ? this.#handle : 0);
    });
    if (rest !== null) this.#intake.part(this.#trigger, this.#handle, rest);
    this.#intake.commit(sync);
  }

  /** Runs a step; if it fails in the middle of a message, the message is void. */
  #guarded(step: () => void): void {
    try {
      step();
    } catch (error) {
      if (this.#framing === 'close' || this.#pending !== undefined) this.#break(error instanceof FsError ? error.code : 'EIO');
      throw error;
    }
  }

  #break(code: ErrnoName): void {
    this.#broken = code;
    if (this.#pending === undefined) return;
    this.#intake.drop(this.#handle);
    this.#intake.commit(false);
  }

  #finishQuietly(): void {
    this.#quiet = null;
    this.#finish();
  }

  #finish(): void {
    const pending = this.#pending;
    if (pending === undefined) return;
    try {
      this.#intake.message(this.#trigger, Buffer.concat(pending.chunks), this.#handle);
      this.#intake.commit(this.#find()?.durability === 'fsync');
    } catch {
      // No room for the copy: the parts stay in the spool as closed, and become a message when it is opened next.
    }
  }

  #stopQuiet(): void {
    if (this.#quiet !== null) clearTimeout(this.#quiet);
    this.#quiet = null;
  }
}
