const NEWLINE = 0x0a;

/** What the bytes of one write become: complete messages, and a rest that waits for more. */
export interface Framed {
  readonly messages: readonly Buffer[];
  /** Bytes of `data` that belong to no complete message; null when there are none. */
  readonly rest: Buffer | null;
}

/**
 * Cuts written bytes into lines. `pending` are the bytes before `data` that are still without a newline; they become
 * the start of the first line. A line keeps its newline, so that the messages joined are the bytes written.
 * A newline byte never occurs inside another UTF-8 character, so characters cut by a write are joined again.
 */
export function splitLines(pending: readonly Buffer[], data: Buffer): Framed {
  let end = data.indexOf(NEWLINE);
  if (end < 0) return { messages: [], rest: data };
  const first = data.subarray(0, end + 1);
  const messages = [pending.length === 0 ? first : Buffer.concat([...pending, first])];
  let start = end + 1;
  for (end = data.indexOf(NEWLINE, start); end >= 0; end = data.indexOf(NEWLINE, start)) {
    messages.push(data.subarray(start, end + 1));
    start = end + 1;
  }
  return { messages, rest: start < data.length ? data.subarray(start) : null };
}
