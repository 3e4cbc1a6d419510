/** One request in the spool. */
export interface Message {
  /** Order of acceptance; rises over all triggers and restarts. */
  readonly sequence: number;
  /** Id of the trigger file. */
  readonly trigger: number;
  /** Invocation id, fixed at acceptance so that a message sent twice is recognised by the worker. */
  readonly invocation: Buffer;
  /** Milliseconds since 1970. */
  readonly acceptedAt: number;
  readonly payload: Buffer;
  /** It may have been sent before: the worker looks whether it knows the id. */
  resume: boolean;
  /** It has a row in the database (otherwise it is in the journal only). */
  settled: boolean;
  /** It was answered or given up. */
  done: boolean;
}

/** The last answer to a trigger file: what `cat` and the extended attributes show. */
export interface StoredResponse {
  /** Invocation id. */
  readonly invocation: Buffer;
  readonly verdict: string;
  readonly exitCode: number;
  /** Milliseconds since 1970. */
  readonly answeredAt: number;
  readonly output: Buffer;
}

/** Bytes of an open file that are accepted but not yet a message. */
export interface Part {
  readonly trigger: number;
  readonly chunks: Buffer[];
  bytes: number;
  /** The file was closed: the bytes are a message even if this process dies before it makes one of them. */
  closed: boolean;
}
