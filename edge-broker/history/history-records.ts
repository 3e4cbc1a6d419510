import type { Outcome, RunVerdict } from '../../protocol/outcome.ts';
import { BlockBuffer } from './block-buffer.ts';
import type { HistoryRule } from './history-rule.ts';

/**
 * What the history knows of one invocation.
 *
 *   accepted ──(flush: row without a verdict)──▶ ended ──(flush: the whole row)──▶ forgotten
 *
 * One that ends before the next flush is written once.
 */
export class InvocationRecord {
  readonly rule: HistoryRule;
  /** 16 bytes. */
  readonly id: Buffer;
  /** Partition it belongs to, such as `2026-11-21`. */
  readonly day: string;
  readonly payloadBytes: number;
  readonly timeoutMs: number;
  /** Milliseconds since 1970, as are all times here. */
  readonly deadline: number;
  readonly expected: number;
  readonly acceptedAt: number;
  /** It was sent before, to another broker perhaps. */
  readonly resumed: boolean;
  /** A row of it may be stored already. */
  stored: boolean;
  /** Null when it is not kept, or is stored already. */
  payload: Buffer | null;
  outcome: Outcome | null = null;
  outputBytes = 0;
  endedAt: number | null = null;
  /** The same invocation was taken over by another broker, which tells how it ends. */
  handedOver = false;
  /** Whether its id belongs to another invocation is known. */
  checked = false;
  /** Its id belongs to another invocation, so nothing of it is kept. */
  reused = false;
  /** It waits for the next flush. */
  dirty = false;
  /** Its runs that wait for the next flush: their rows come first. */
  dirtyRuns = 0;
  /** Bytes that wait for the next flush because of it. */
  memory = 0;

  constructor(init: InvocationInit) {
    this.rule = init.rule;
    this.id = init.id;
    this.day = init.day;
    this.payload = init.payload;
    this.payloadBytes = init.payloadBytes;
    this.timeoutMs = init.timeoutMs;
    this.deadline = init.deadline;
    this.expected = init.expected;
    this.acceptedAt = init.acceptedAt;
    this.resumed = init.resumed;
    this.stored = init.resumed;
  }
}

/** Values of a new record. */
export interface InvocationInit {
  readonly rule: HistoryRule;
  readonly id: Buffer;
  readonly day: string;
  readonly payload: Buffer | null;
  readonly payloadBytes: number;
  readonly timeoutMs: number;
  readonly deadline: number;
  readonly expected: number;
  readonly acceptedAt: number;
  readonly resumed: boolean;
}

/** What the history knows of one run, and its output that is not stored yet. */
export class RunRecord {
  readonly invocation: InvocationRecord;
  readonly workerId: number;
  readonly identity: string;
  readonly attempt: number;
  readonly startedAt: number;
  readonly output = new BlockBuffer();
  verdict: RunVerdict | null = null;
  endedAt: number | null = null;
  outputBytes = 0;
  /** It waits for the next flush. */
  dirty = false;
  /** Its row has changed too, not only its output. */
  rowDirty = false;
  /** A row of it may be stored already. */
  stored: boolean;
  /** Number of its next block. */
  nextBlock = 0;
  /** Output before its next block is missing. */
  gap = false;
  /** Bytes at its beginning that are stored already, by another broker or an earlier session; null until that is known. */
  skip: number | null;

  constructor(
    invocation: InvocationRecord,
    init: { workerId: number; identity: string; attempt: number; startedAt: number; repeated: boolean },
  ) {
    this.invocation = invocation;
    this.workerId = init.workerId;
    this.identity = init.identity;
    this.attempt = init.attempt;
    this.startedAt = init.startedAt;
    this.stored = init.repeated;
    this.skip = init.repeated ? null : 0;
  }
}

/** An invocation as a batch writes it. */
export interface InvocationEntry {
  readonly record: InvocationRecord;
  /** With how it ended. */
  readonly over: boolean;
  /** Its first row. */
  readonly fresh: boolean;
  readonly payload: Buffer | null;
}
