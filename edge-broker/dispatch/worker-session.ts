import type { Session } from '../session/session.ts';
import { Fifo } from './fifo.ts';
import type { Run } from './invocation.ts';
import type { RouteEntry } from './route-entry.ts';

/** A worker that is connected to this broker and has announced what it takes. */
export class WorkerSession {
  readonly session: Session;
  /** Database id of the worker; also its number on the wire. */
  readonly id: number;
  readonly identity: string;
  /** Runs it takes at once; 0 while it drains or has not announced yet. */
  concurrency = 0;
  /** Runs handed to it and not ended. */
  running = 0;
  plugins: ReadonlySet<string> = new Set();
  version = '';
  /** The services it was last told about, to tell it only of changes; null before the first time. */
  configured: string | null = null;
  /** It had no room for a run although it seemed so: other brokers use it too. Cleared by its next result, or soon. */
  overrun = false;
  /** Runs that only this worker may take, waiting for capacity. */
  readonly waiting = new Fifo<Run>();
  readonly #plans = new Map<RouteEntry, number>();
  #nextPlan = 1;

  constructor(session: Session) {
    this.session = session;
    this.id = session.principal.subject;
    this.identity = session.principal.identity;
  }

  /** Whether it takes one more run now. */
  get free(): boolean {
    return this.running < this.concurrency && !this.overrun;
  }

  /** Whether it takes runs at all (it does not before ANNOUNCE and while it drains). */
  get accepting(): boolean {
    return this.concurrency > 0;
  }

  /** The number under which the worker knows a route's plan; `define` is called to send it the first time. */
  planFor(entry: RouteEntry, define: (plan: number) => void): number {
    let plan = this.#plans.get(entry);
    if (plan === undefined) {
      plan = this.#nextPlan;
      this.#nextPlan += 1;
      this.#plans.set(entry, plan);
      entry.workers.add(this);
      define(plan);
    }
    return plan;
  }

  /** Forgets a route's plan and returns its number, or undefined when the worker never heard of it. */
  forgetPlan(entry: RouteEntry): number | undefined {
    const plan = this.#plans.get(entry);
    this.#plans.delete(entry);
    return plan;
  }

  /** Breaks the links from routes to this worker, when its session has ended. */
  release(): void {
    for (const entry of this.#plans.keys()) entry.workers.delete(this);
    this.#plans.clear();
  }
}
