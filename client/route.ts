import type { RouteOrigin } from '../protocol/control.ts';
import type { CallHandlers } from './answers.ts';
import type { Call } from './call.ts';
import type { CallTable } from './call-table.ts';
import type { Session } from './session.ts';

/** A rule: what a request asks for. It travels once per session; requests carry only its number. */
export interface RouteRule {
  /** `service` or `team/service`. */
  readonly service: string;
  readonly plugin: string;
  readonly args?: Readonly<Record<string, string>>;
  /** Id of the trigger file that stands behind the requests, for its hits. */
  readonly trigger?: number;
  /** Calls never overtake each other by changing to another broker: a change waits until the earlier ones are done. */
  readonly ordered?: boolean;
  /** For whom the control-plane calls; brokers take it from nobody else. */
  readonly origin?: RouteOrigin;
}

/** Options of one request. */
export interface SendOptions {
  /** Milliseconds; the service's default when absent. */
  readonly timeoutMs?: number;
  /** Invocation id (16 bytes, a UUID version 7); a new one when absent. */
  readonly invocation?: Buffer;
  /** This id may have been executed before: a worker that knows it answers again instead of executing it again. */
  readonly resume?: boolean;
  readonly resumeWorker?: number;
  /** The runs go on when this client's session ends: for fire and forget, where nobody waits at a terminal. */
  readonly detached?: boolean;
  /** Not more than one run for each time it is sent: the broker moves none that may have begun (it ends `no-worker`, TFS_WORKER_LOST). */
  readonly once?: boolean;
  /** Output bytes that a run may send before more is granted. */
  readonly creditBytes?: number;
  /** The sender grants credit by `call.grant`; otherwise it is granted as output is delivered. */
  readonly manualCredit?: boolean;
  readonly tag?: unknown;
}

/** A rule in use. Works across sessions and brokers until it is closed. */
export class ClientRoute {
  readonly rule: RouteRule;
  /** Number on the wire, the same on all sessions of this client. */
  readonly number: number;
  readonly #calls: CallTable;
  /** Calls that are on a session, which one that is, and calls that wait for one; kept by the call table. */
  inFlight = 0;
  session: Session | null = null;
  parked = 0;
  closed = false;

  constructor(rule: RouteRule, number: number, calls: CallTable) {
    this.rule = rule;
    this.number = number;
    this.#calls = calls;
  }

  /**
   * Sends a request; without a session it waits for one until its deadline. `payload` must not change before `done`.
   * @throws TriggerFsError TFS_TOO_LARGE, TFS_BAD_TIMEOUT, TFS_UNAVAILABLE (closed), TFS_BUSY (too many calls)
   */
  send(payload: Buffer, handlers: CallHandlers, options?: SendOptions): Call {
    return this.#calls.send(this, payload, handlers, options);
  }

  /** Gives the rule's number back. Calls on their way are not affected. */
  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.#calls.closeRoute(this);
  }
}
