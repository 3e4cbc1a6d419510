import type { CallHandlers, Outcome } from '../client/index.ts';
import { type ErrorCode, TriggerFsError } from '../protocol/errors.ts';
import type { Log } from '../runtime/logging.ts';
import { Backoff } from '../runtime/wire/backoff.ts';
import type { Flight, Outgoing } from './flight.ts';
import { Pacing } from './pacing.ts';
import type { ResponseRecorder } from './recorder.ts';
import type { Message } from './spool/message.ts';
import type { FileTree, TriggerNode } from './tree.ts';
import type { Uplink, UplinkRoute } from './uplink.ts';

const FIRST_PAUSE_MS = 50;
const LONGEST_PAUSE_MS = 2_000;

/** Errors that say nothing about the message: the same one may succeed later. */
const RETRIED: ReadonlySet<ErrorCode> = new Set([
  'TFS_NO_WORKER',
  // The worker that has the plugin may be offline for the moment.
  'TFS_UNKNOWN_PLUGIN',
  'TFS_NO_BROKER',
  'TFS_BROKER_LOST',
  'TFS_BUSY',
  'TFS_DRAINING',
  'TFS_UNAVAILABLE',
  'TFS_RATE_LIMITED',
  // The login ended while the message waited; a new login is under way.
  'TFS_UNAUTHENTICATED',
  'TFS_BAD_CREDENTIALS',
  'TFS_REVOKED',
]);

/** What all lanes share. */
export interface LaneContext {
  readonly spool: Outgoing;
  readonly tree: FileTree;
  readonly uplink: Uplink;
  readonly recorder: ResponseRecorder;
  readonly window: number;
  readonly maxAgeMs: number;
  readonly log: Log;
  readonly handlers: CallHandlers;
  /** Counts a message as being on its way; its `done` follows. */
  readonly sent: () => void;
}

/**
 * The messages of one trigger on their way, in order.
 *
 *   flowing ──not taken (no worker, busy, ...)──▶ blocked ──all answers in──▶ pausing ──time, wake──▶ flowing
 *
 * flowing: up to `limit` messages in flight. blocked: something has to be sent again, so nothing overtakes it.
 * pausing: the back-off runs. After a pause the oldest message goes alone; each success doubles the limit again, so that
 * a service that comes back is not met by a window of messages out of which it takes the middle.
 */
export class Lane {
  readonly #trigger: number;
  readonly #context: LaneContext;
  readonly #backoff = new Backoff(FIRST_PAUSE_MS, LONGEST_PAUSE_MS);
  #state: 'flowing' | 'blocked' | 'pausing' = 'flowing';
  /** Messages to send again, oldest first. */
  #again: Message[] = [];
  #inFlight = 0;
  #limit: number;
  #route: UplinkRoute | null = null;
  #routeKey = '';
  #routeTrigger: TriggerNode | null = null;
  #routeEpoch = -1;
  #timer: NodeJS.Timeout | null = null;
  #gather: NodeJS.Timeout | null = null;
  readonly #pacing = new Pacing();
  /** When the message was accepted that was sent last; all younger ones wait. */
  #lastAcceptedAt = 0;
  #reason = 'no broker could be reached';
  #reported = '';
  #stopped = false;

  constructor(trigger: number, context: LaneContext) {
    this.#trigger = trigger;
    this.#context = context;
    this.#limit = context.window;
  }

  /** There are messages: the first goes at once, others are gathered. */
  notify(): void {
    this.#pacing.written();
    this.#next();
  }

  /** Sends what may be sent now. */
  pump(): void {
    const { uplink, spool } = this.#context;
    while (this.#state === 'flowing' && !this.#stopped && uplink.connected && this.#inFlight < this.#limit) {
      const trigger = this.#context.tree.trigger(this.#trigger);
      const message = this.#again.shift() ?? spool.next(this.#trigger);
      if (message === null) return;
      if (trigger === undefined && this.#context.tree.version < 0) this.#hold(message, 'the file tree is not known yet');
      else if (trigger === undefined) this.#giveUp(message, 'the trigger was removed');
      else if (this.#isOld(message)) this.#giveUp(message, `not taken within max_age: ${this.#reason}`);
      else if (trigger.plugin === null || trigger.service === null) this.#hold(message, 'the trigger has no plugin or service');
      else this.#send(message, trigger);
    }
  }

  /** What kept the messages back may be gone: tries at once. */
  wake(): void {
    if (this.#state === 'pausing') this.#resume();
    else this.pump();
  }

  /** Gives up messages that waited longer than max_age. */
  sweep(): void {
    if (this.#inFlight > 0) return;
    for (let message = this.#oldest(); message !== null; message = this.#oldest()) {
      if (!this.#isOld(message)) {
        this.#again.unshift(message);
        return;
      }
      this.#giveUp(message, `not taken within max_age: ${this.#reason}`);
    }
  }

  /** A message came back with its outcome: it is done, or it is sent again. */
  done(flight: Flight, outcome: Outcome): void {
    this.#inFlight -= 1;
    const { message } = flight;
    // Stopped by ourselves: the message stays in the spool and is sent again by the next process.
    if (this.#stopped && outcome.verdict === 'cancelled') return;
    // Cancelled without a worker's word: our own client ended, and another one follows.
    const cut = outcome.error === 'TFS_BROKER_LOST' || (outcome.verdict === 'cancelled' && outcome.runs === 0);
    // A run that failed was begun, whatever its error says.
    const untaken = outcome.error !== null && RETRIED.has(outcome.error) && outcome.verdict !== 'failed';
    // No worker: none that ended it, and another one may.
    if (cut || untaken || outcome.verdict === 'no-worker') {
      this.#context.recorder.discard(flight);
      if (cut) message.resume = true;
      this.#hold(message, outcome.detail === '' ? outcome.verdict : `${outcome.detail} (${outcome.verdict})`);
      return;
    }
    this.#context.spool.done(message);
    this.#context.recorder.finish(flight, outcome);
    if (this.#limit < this.#context.window) this.#limit = Math.min(this.#context.window, this.#limit * 2);
    this.#backoff.reset();
    this.#reported = '';
    if (this.#state === 'flowing') this.#next();
    else this.#pauseWhenAnswered();
  }

  /** Sends nothing more. */
  stop(): void {
    this.#stopped = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    if (this.#gather !== null) clearTimeout(this.#gather);
  }

  #next(): void {
    if (this.#stopped || this.#gather !== null) return;
    if (this.#inFlight === 0 && this.#pacing.eager) this.pump();
    else this.#gather = setTimeout(() => this.#gathered(), this.#pacing.gatherMs);
  }

  #gathered(): void {
    this.#gather = null;
    this.#pacing.step(this.#lastAcceptedAt);
    this.pump();
    // In a burst no answer leads to the next step.
    if (this.#pacing.burst) this.#next();
  }

  get #name(): string {
    return this.#context.tree.trigger(this.#trigger)?.path ?? `trigger ${this.#trigger}`;
  }

  #oldest(): Message | null {
    return this.#again.shift() ?? this.#context.spool.next(this.#trigger);
  }

  #isOld(message: Message): boolean {
    return Date.now() - message.acceptedAt > this.#context.maxAgeMs;
  }

  #send(message: Message, trigger: TriggerNode): void {
    const flight: Flight = { lane: this, message, trigger, sentAt: performance.now() };
    const { invocation, resume, payload } = message;
    // What was written is done also when this process ends before the answer.
    const options = { timeoutMs: trigger.timeoutMs, invocation, resume, detached: true, tag: flight };
    try {
      this.#routeOf(trigger).send(payload, this.#context.handlers, options);
    } catch (thrown) {
      this.#hold(message, TriggerFsError.from(thrown).message);
      return;
    }
    this.#lastAcceptedAt = message.acceptedAt;
    this.#inFlight += 1;
    this.#context.sent();
  }

  /** The route of the trigger's rule as it is now. */
  #routeOf(trigger: TriggerNode): UplinkRoute {
    const { uplink } = this.#context;
    // Nodes are replaced, never changed: the same node is the same rule.
    if (this.#route !== null && trigger === this.#routeTrigger && uplink.epoch === this.#routeEpoch) return this.#route;
    const key = JSON.stringify([uplink.epoch, trigger.service, trigger.plugin, trigger.args]);
    this.#routeTrigger = trigger;
    this.#routeEpoch = uplink.epoch;
    if (this.#route !== null && key === this.#routeKey) return this.#route;
    this.#route?.close();
    const { service, plugin, args } = trigger as TriggerNode & { service: string; plugin: string };
    this.#route = uplink.route({ service, plugin, args, trigger: this.#trigger, ordered: true });
    this.#routeKey = key;
    return this.#route;
  }

  /** Keeps a message to be sent again, before everything younger. */
  #hold(message: Message, reason: string): void {
    this.#reason = reason;
    const at = this.#again.findIndex((other) => other.sequence > message.sequence);
    this.#again.splice(at < 0 ? this.#again.length : at, 0, message);
    if (this.#state === 'flowing') this.#state = 'blocked';
    if (reason !== this.#reported) this.#context.log.warn(`${this.#name} waits: ${reason}`);
    this.#reported = reason;
    this.#pauseWhenAnswered();
  }

  #pauseWhenAnswered(): void {
    if (this.#state !== 'blocked' || this.#inFlight > 0 || this.#stopped) return;
    this.#state = 'pausing';
    this.#timer = setTimeout(() => this.#resume(), this.#backoff.next());
  }

  #resume(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#state = 'flowing';
    this.#limit = 1;
    this.pump();
  }

  #giveUp(message: Message, reason: string): void {
    const { spool, tree, log, recorder } = this.#context;
    const path = tree.trigger(this.#trigger)?.path ?? '';
    log.error(`${this.#name}: a message is given up: ${reason}`);
    spool.dead(message, path, reason);
    recorder.givenUp(path === '' ? this.#name : path, message, reason);
  }
}
