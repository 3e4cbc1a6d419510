import type { Outcome } from '../client/index.ts';
import type { Message } from './spool/message.ts';
import type { TriggerNode } from './tree.ts';

/** A message on its way. */
export interface Flight {
  readonly message: Message;
  /** The trigger as it was when the message was sent. */
  readonly trigger: TriggerNode;
  /** Milliseconds of performance.now(). */
  readonly sentAt: number;
  /** Whoever sent it. */
  readonly lane: { done(flight: Flight, outcome: Outcome): void };
}

/** The spool as senders need it. */
export interface Outgoing {
  /** Triggers with messages of an earlier process. */
  readonly triggers: readonly number[];
  next(trigger: number): Message | null;
  done(message: Message): void;
  dead(message: Message, path: string, reason: string): void;
}
