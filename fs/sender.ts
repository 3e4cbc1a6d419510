import type { CallHandlers, Outcome } from '../client/index.ts';
import type { Log } from '../runtime/logging.ts';
import type { Flight, Outgoing } from './flight.ts';
import { Lane, type LaneContext } from './lane.ts';
import type { ResponseRecorder } from './recorder.ts';
import type { FileTree } from './tree.ts';
import type { Uplink } from './uplink.ts';

/** How often old messages are looked for. */
const SWEEP_MS = 5_000;
/** How long `stop` waits for the answers to what is on its way. */
const STOP_MS = 3_000;

/** Options of a sender. */
export interface SenderOptions {
  readonly spool: Outgoing;
  readonly tree: FileTree;
  readonly uplink: Uplink;
  readonly recorder: ResponseRecorder;
  /** Requests in flight per trigger. */
  readonly window: number;
  readonly maxAgeMs: number;
  readonly log: Log;
}

/** Sends what is in the spool, each trigger in its own lane, and records what comes back. */
export class Sender {
  readonly #options: SenderOptions;
  readonly #lanes = new Map<number, Lane>();
  readonly #context: LaneContext;
  #sweep: NodeJS.Timeout | null = null;
  #inFlight = 0;
  #stopping = false;
  #idle: (() => void) | null = null;

  constructor(options: SenderOptions) {
    this.#options = options;
    const { spool, tree, uplink, recorder, window, maxAgeMs, log } = options;
    const handlers: CallHandlers = {
      output: (call, data, stderr, worker) => recorder.output(call.tag as Flight, data, stderr, worker),
      verdict: (call, verdict) => recorder.verdict(call.tag as Flight, verdict),
      done: (call, outcome) => this.#done(call.tag as Flight, outcome),
    };
    this.#context = { spool, tree, uplink, recorder, window, maxAgeMs, log, handlers, sent: () => this.#sent() };
  }

  /** Begins with what an earlier process left. */
  start(): void {
    for (const trigger of this.#options.spool.triggers) this.notify(trigger);
    this.#sweep = setInterval(() => this.#eachLane((lane) => lane.sweep()), Math.min(SWEEP_MS, this.#options.maxAgeMs));
    this.#sweep.unref();
  }

  /** A trigger has messages. */
  notify(trigger: number): void {
    if (this.#stopping) return;
    let lane = this.#lanes.get(trigger);
    if (lane === undefined) {
      lane = new Lane(trigger, this.#context);
      this.#lanes.set(trigger, lane);
    }
    lane.notify();
  }

  /** A broker can be reached again, or the tree changed: everything that waits is tried at once. */
  wake(): void {
    if (!this.#stopping) this.#eachLane((lane) => lane.wake());
  }

  /** Sends nothing new and waits a moment for what is on its way; the rest stays in the spool. */
  async stop(): Promise<void> {
    this.#stopping = true;
    if (this.#sweep !== null) clearInterval(this.#sweep);
    this.#eachLane((lane) => lane.stop());
    if (this.#inFlight === 0 || !this.#options.uplink.connected) return;
    await new Promise<void>((resolve) => {
      const limit = setTimeout(resolve, STOP_MS);
      this.#idle = () => {
        clearTimeout(limit);
        resolve();
      };
    });
  }

  #sent(): void {
    this.#inFlight += 1;
  }

  #done(flight: Flight, outcome: Outcome): void {
    this.#inFlight -= 1;
    flight.lane.done(flight, outcome);
    if (this.#inFlight === 0) this.#idle?.();
  }

  #eachLane(act: (lane: Lane) => void): void {
    for (const lane of this.#lanes.values()) act(lane);
  }
}
