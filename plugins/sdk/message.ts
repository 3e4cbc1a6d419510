import type { Arguments } from './arguments.ts';

/** One request as a plugin sees it. */
export interface Message {
  /** What the caller sent. */
  readonly payload: Buffer;
  /** The payload as UTF-8. */
  text(): string;
  /** Arguments with the types of plugin.json; the same object for all messages of one rule. */
  readonly args: Arguments;
  /** Id of the invocation, `018f3c3e-...`: the same again when a request is repeated. */
  readonly invocation: string;
  /** 0, and one more for each time the request was moved from a worker. */
  readonly attempt: number;
  /** The service that was addressed. */
  readonly service: string;
  /** Identity of the caller, and its team. */
  readonly caller: string;
  readonly team: string;
  /** Aborted when the caller gives up, the time is over or the worker stops. */
  readonly signal: AbortSignal;
}

/** Sends output while the plugin works. Await what it returns before sending more, when there is much to send. */
export interface Reply {
  /** Sends standard output. Undefined: sent; a promise: it resolves once the reader has asked for more. */
  (chunk: string | Uint8Array): Promise<void> | undefined;
  /** Sends standard error, in the same way. */
  error(chunk: string | Uint8Array): Promise<void> | undefined;
}

/** What a handler returns: the last output, or an exit code from 0 to 255, or nothing (0). */
export type Outcome = string | Uint8Array | number | undefined;

/** A plugin's work: called once for each request. Throwing sends the message as standard error and exit code 1. */
export type Handler =
  | ((message: Message, reply: Reply) => Outcome)
  | ((message: Message, reply: Reply) => Promise<Outcome>)
  | ((message: Message, reply: Reply) => void)
  | ((message: Message, reply: Reply) => Promise<void>);

/** What stays the same for many runs: sent once by the worker. */
export interface Plan {
  readonly args: Arguments;
  readonly service: string;
  readonly caller: string;
  readonly team: string;
}
