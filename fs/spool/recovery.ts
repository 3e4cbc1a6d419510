import type { InvocationIds } from '../../runtime/wire/invocation-id.ts';
import { Journal } from './journal.ts';
import type { Message, Part } from './message.ts';
import type { SpoolStore } from './store.ts';

const LOST_REASON = 'the mount ended before the file was closed';

/** A spool's journal after recovery: empty, its former content in the database. */
export interface Recovered {
  readonly journal: Journal;
  readonly generation: number;
  readonly lastSequence: number;
}

/**
 * Brings a spool in order after whatever ended the last process: the journal's messages become rows, answered ones go,
 * and the parts of files that were closed become messages. Parts of files that were not closed become dead letters:
 * their writer was told that the close failed, and half a command must never run.
 */
export function recover(store: SpoolStore, journalPath: string, ids: InvocationIds): Recovered {
  const journal = new Journal(journalPath, Number(store.readState('generation') ?? 0));
  const messages = new Map<number, Message>();
  const answered: number[] = [];
  const parts = store.readParts();
  const generation =
    1 +
    journal.recover({
      message: (message, handle) => {
        messages.set(message.sequence, message);
        if (handle !== 0) parts.delete(handle);
      },
      part: (trigger, handle, data) => appendPart(parts, trigger, handle, data),
      closed: (handle) => {
        const part = parts.get(handle);
        if (part !== undefined) part.closed = true;
      },
      drop: (handle) => void parts.delete(handle),
      answered: (sequence) => {
        if (!messages.delete(sequence)) answered.push(sequence);
      },
    });
  let lastSequence = Math.max(store.lastSequence(), ...lastOf(messages));
  store.transaction(true, () => {
    for (const sequence of answered) store.deleteMessage(sequence);
    for (const message of messages.values()) store.insertMessage(message);
    for (const part of parts.values()) {
      lastSequence += 1;
      const message = toMessage(part, lastSequence, ids);
      if (part.closed) store.insertMessage(message);
      else store.insertDeadLetter({ message, path: '', reason: LOST_REASON }, Date.now());
    }
    store.replaceParts(new Map());
    store.writeState('generation', String(generation));
  });
  journal.restart(generation);
  return { journal, generation, lastSequence };
}

function lastOf(messages: ReadonlyMap<number, Message>): number[] {
  const last = [...messages.keys()].at(-1);
  return last === undefined ? [] : [last];
}

/** Adds bytes to the parts of an open file; new bytes after a close reopen it. */
export function appendPart(parts: Map<number, Part>, trigger: number, handle: number, data: Buffer): void {
  const part = parts.get(handle);
  if (part === undefined) {
    parts.set(handle, { trigger, chunks: [data], bytes: data.length, closed: false });
    return;
  }
  part.chunks.push(data);
  part.bytes += data.length;
  part.closed = false;
}

function toMessage(part: Part, sequence: number, ids: InvocationIds): Message {
  const payload = Buffer.concat(part.chunks);
  return {
    sequence,
    trigger: part.trigger,
    invocation: ids.next(),
    acceptedAt: Date.now(),
    payload,
    resume: false,
    settled: true,
    done: false,
  };
}
