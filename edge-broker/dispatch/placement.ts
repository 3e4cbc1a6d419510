import { LIMITS } from '../../protocol/limits.ts';
import { Layout, RecordType } from '../../protocol/records.ts';
import { Verdict } from '../../protocol/verdicts.ts';
import type { SlotTable } from '../../runtime/wire/slot-table.ts';
import type { Recorder } from '../history/recorder.ts';
import { askAgain, type BrokerVerdict, writeManifest } from './answers.ts';
import type { CreditGate } from './credit-gate.ts';
import { type Invocation, Run } from './invocation.ts';
import { pick } from './round-robin.ts';
import type { ServiceState } from './service-state.ts';
import type { WorkerSession } from './worker-session.ts';

/** Ends a run with a verdict of the broker's. */
export type Finish = (run: Run, given: BrokerVerdict) => void;

/** What a placement works with. */
export interface PlacementParts {
  readonly runs: SlotTable<Run>;
  readonly finish: Finish;
  readonly recorder: Recorder;
  readonly gate: CreditGate;
  /** Until then, in milliseconds since 1970, workers that are away are waited for. */
  readonly settledAt: number;
}

const NOT_CHOSEN = [{ id: 0, identity: '' }];
const MAX_ATTEMPTS = 16;

/**
 * Decides which worker gets a run, and keeps the runs that have to wait:
 * in a service's queue (any member may take it), with a worker (only that one may), or held (the worker that is
 * meant is expected back in a moment: just after the broker's start, or for a request that is being resumed).
 */
export class Placement {
  readonly workers = new Map<number, WorkerSession>();
  /** The clock of the current batch. */
  now = Date.now();
  readonly #runs: SlotTable<Run>;
  readonly #finish: Finish;
  readonly #recorder: Recorder;
  readonly #gate: CreditGate;
  readonly #settledAt: number;
  readonly #queues = new Set<ServiceState>();
  readonly #freed = new Set<WorkerSession>();
  #held: { run: Run; until: number }[] = [];
  #waiting = 0;

  constructor({ runs, finish, recorder, gate, settledAt }: PlacementParts) {
    this.#runs = runs;
    this.#finish = finish;
    this.#recorder = recorder;
    this.#gate = gate;
    this.#settledAt = settledAt;
  }

  /** Runs without a worker. */
  get waiting(): number {
    return this.#waiting;
  }

  /** Starts one run for each worker (by id; 0 is any member). All are known to the invocation before the first may end. */
  start(invocation: Invocation, workers: readonly number[]): void {
    const runs = workers.map((worker) => new Run(invocation, worker));
    invocation.openRuns.push(...runs);
    this.#waiting += runs.length;
    for (const run of runs) if (!run.ended) this.#place(run);
  }

  /** A worker takes runs (again): what waited for it is handed over. */
  workerReady(worker: WorkerSession): void {
    const known = this.workers.get(worker.id);
    if (known === undefined) this.workers.set(worker.id, worker);
    this.#freed.add(worker);
    this.#retryHeld();
  }

  /** A worker is gone; runs that only it may take end or are held. */
  workerGone(worker: WorkerSession): void {
    if (this.workers.get(worker.id) === worker) this.workers.delete(worker.id);
    // What it still holds is about to be freed; that must not make it look ready for more.
    worker.concurrency = 0;
    for (let run = worker.waiting.shift(); run !== undefined; run = worker.waiting.shift()) if (!run.ended) this.#place(run);
    this.#failUnserved();
  }

  /** Members may have changed: queued runs are looked at again. */
  configChanged(): void {
    for (const worker of this.workers.values()) this.#freed.add(worker);
    this.#failUnserved();
    this.pump();
  }

  /** Takes a run from its worker and gives it to another member; false when there is none or the run is bound to its worker. */
  move(run: Run, reason: string): boolean {
    if (run.only !== 0 || run.attempt >= MAX_ATTEMPTS) return false;
    const lost = run.worker as WorkerSession;
    const service = run.invocation.service;
    const others = service.config.workerIds.some((id) => id !== lost.id && this.workers.get(id)?.accepting === true);
    if (!others) return false;
    this.#recorder.moved(run, { verdict: Verdict.workerLost, error: 'TFS_WORKER_LOST', detail: `${reason}; the run was moved` });
    this.#free(run);
    run.previousWorker = lost.id;
    run.worker = null;
    run.started = false;
    this.#waiting += 1;
    this.#place(run, reason);
    return true;
  }

  /** A worker that other brokers use as well had no room: the run waits for its turn again. */
  handBack(run: Run): void {
    const worker = run.worker as WorkerSession;
    this.#free(run);
    worker.overrun = true;
    run.previousWorker = worker.id;
    run.worker = null;
    this.#waiting += 1;
    this.#place(run);
  }

  /** Frees what an ended run holds. */
  release(run: Run): void {
    if (run.number === 0) {
      this.#waiting -= 1;
      return;
    }
    (run.worker as WorkerSession).overrun = false;
    this.#free(run);
  }

  /** Hands waiting runs to workers that have become free. */
  pump(): void {
    if (this.#freed.size === 0) return;
    for (const worker of this.#freed) this.#pumpWorker(worker);
    this.#freed.clear();
  }

  /** Ends runs that have waited past their deadline or past the time they are held for. */
  sweep(): void {
    const late = (run: Run): boolean => !run.ended && this.now >= run.deadline;
    for (const service of this.#queues) {
      for (const run of service.waiting()) if (late(run)) this.#finish(run, waitedTooLong(run));
      service.compact();
    }
    for (const worker of this.workers.values()) {
      for (const run of worker.waiting) if (late(run)) this.#finish(run, waitedTooLong(run));
      worker.waiting.retain((run) => !run.ended);
      if (worker.overrun) {
        worker.overrun = false;
        this.#freed.add(worker);
      }
    }
    this.#retryHeld();
  }

  #pumpWorker(worker: WorkerSession): void {
    while (worker.free) {
      const run = worker.waiting.shift() ?? this.#nextQueued(worker);
      if (run === undefined) return;
      if (!run.ended) this.#hand(run, worker);
    }
  }

  #nextQueued(worker: WorkerSession): Run | undefined {
    for (const service of [...this.#queues]) {
      const run = service.config.workerIds.includes(worker.id) ? service.dequeue(worker) : undefined;
      // To the back of the line, so that one busy service does not starve the others.
      this.#queues.delete(service);
      if (service.queued > 0) this.#queues.add(service);
      if (run !== undefined) return run;
    }
    return undefined;
  }

  #place(run: Run, reason?: string): void {
    if (run.only !== 0) this.#placeOn(run, this.workers.get(run.only));
    else this.#placeAnywhere(run, reason);
  }

  #placeAnywhere(run: Run, reason: string | undefined): void {
    const { service, entry } = run.invocation;
    // Whoever waits already goes first: requests keep their order.
    const found = service.hasWaiting(entry.plugin) ? 'busy' : pick(service, entry.plugin, this.workers);
    if (typeof found !== 'string') return this.#hand(run, found);
    if (found === 'busy') return this.#enqueue(run);
    if (found === 'no-plugin') return this.#finish(run, unknownPlugin(entry.plugin, service.config.name));
    if (this.now < this.#settledAt && service.config.workerIds.length > 0) return this.#hold(run, this.#settledAt);
    const why = reason === undefined ? '' : `${reason}, and `;
    const none = service.config.workerIds.length === 0 ? 'no worker is attached to' : 'no worker is online for';
    this.#finish(run, { verdict: Verdict.noWorker, error: 'TFS_NO_WORKER', detail: `${why}${none} service ${service.config.name}` });
  }

  #placeOn(run: Run, worker: WorkerSession | undefined): void {
    const { invocation } = run;
    const { config } = invocation.service;
    if (worker === undefined || !worker.accepting) return this.#placeLater(run);
    if (!worker.plugins.has(invocation.entry.plugin)) return this.#finish(run, unknownPlugin(invocation.entry.plugin, worker.identity));
    if (worker.free && worker.waiting.length === 0) return this.#hand(run, worker);
    if (worker.waiting.length >= config.queueLimit) return this.#finish(run, busy(`worker ${worker.identity}`, config.queueLimit));
    worker.waiting.push(run);
  }

  /** The one worker that may take the run is away. A resumed request may be running there, so it gets the time to come back. */
  #placeLater(run: Run): void {
    const { invocation } = run;
    const resumed =
      invocation.resumed && invocation.service.config.algorithm !== 'serial' && invocation.service.config.algorithm !== 'mirror';
    const until = resumed ? this.now + LIMITS.deadMs : this.#settledAt;
    if (this.now < until) return this.#hold(run, until);
    this.#finish(run, awayVerdict(run, resumed));
  }

  #enqueue(run: Run): void {
    const { service } = run.invocation;
    if (service.queued >= service.config.queueLimit)
      return this.#finish(run, busy(`service ${service.config.name}`, service.config.queueLimit));
    service.enqueue(run);
    this.#queues.add(service);
    writeManifest(run.invocation, NOT_CHOSEN, run.attempt, run.deadline - this.now);
  }

  #hold(run: Run, until: number): void {
    this.#held.push({ run, until });
  }

  #retryHeld(): void {
    if (this.#held.length === 0) return;
    const held = this.#held;
    this.#held = [];
    for (const { run, until } of held) {
      if (run.ended) continue;
      const here = run.only === 0 || this.workers.get(run.only)?.accepting === true;
      if (here && (run.only !== 0 || this.#served(run.invocation.service))) this.#place(run);
      else if (this.now < until) this.#held.push({ run, until });
      else if (run.only === 0) this.#place(run);
      else this.#finish(run, awayVerdict(run, run.invocation.resumed));
    }
  }

  /** A queue that no connected worker serves any more must not wait for its deadline. */
  #failUnserved(): void {
    for (const service of this.#queues) {
      if (this.#served(service)) continue;
      for (const run of service.drain()) if (!run.ended) this.#place(run);
    }
  }

  #served(service: ServiceState): boolean {
    return service.config.workerIds.some((id) => this.workers.get(id)?.accepting === true);
  }

  #hand(run: Run, worker: WorkerSession): void {
    const { invocation } = run;
    if (run.previousWorker !== 0 && run.previousWorker !== worker.id) run.attempt += 1;
    this.#waiting -= 1;
    run.worker = worker;
    run.number = this.#runs.add(run);
    run.handedAt = this.now;
    run.credit = this.#gate.open(run);
    const timeoutMs = this.#timeLeft(invocation);
    run.deadline = this.now + timeoutMs;
    worker.running += 1;
    const { algorithm } = invocation.service.config;
    if (algorithm === 'roundrobin' || algorithm === 'direct') writeManifest(invocation, [worker], run.attempt, timeoutMs);
    this.#writeTask(run, worker, timeoutMs);
  }

  /** A caller that waits gets its answer in time; work that nobody waits for gets all of its time, however long it queued. */
  #timeLeft(invocation: Invocation): number {
    if (invocation.detached) return invocation.timeoutMs;
    return Math.max(1, Math.min(invocation.timeoutMs, invocation.deadline - this.now));
  }

  #writeTask(run: Run, worker: WorkerSession, timeoutMs: number): void {
    const { invocation } = run;
    const { entry } = invocation;
    const { outbox } = worker.session;
    const plan = worker.planFor(entry, (number) =>
      outbox.json(RecordType.plan, {
        plan: number,
        plugin: entry.plugin,
        args: entry.args,
        service: invocation.service.config.name,
        callerTeam: entry.principal.team,
        caller: entry.origin?.caller ?? entry.principal.identity,
      }),
    );
    const layout = Layout.task;
    const at = outbox.copy(RecordType.task, 0, invocation.request, invocation.bodyStart, invocation.bodyEnd);
    const buffer = outbox.buffer;
    buffer.writeUInt32LE(run.number, at + layout.run);
    buffer.writeUInt32LE(plan, at + layout.plan);
    buffer.writeUInt32LE(timeoutMs, at + layout.timeoutMs);
    buffer.writeUInt32LE(run.credit, at + layout.credit);
    buffer.writeUInt32LE(run.attempt, at + layout.attempt);
  }

  #free(run: Run): void {
    const worker = run.worker as WorkerSession;
    this.#runs.remove(run.number);
    run.number = 0;
    worker.running -= 1;
    if (this.#queues.size > 0 || worker.waiting.length > 0) this.#freed.add(worker);
  }
}

function unknownPlugin(plugin: string, where: string): BrokerVerdict {
  return { verdict: Verdict.denied, error: 'TFS_UNKNOWN_PLUGIN', detail: `no worker of ${where} that is online has plugin ${plugin}` };
}

function busy(what: string, limit: number): BrokerVerdict {
  return { verdict: Verdict.busy, error: 'TFS_BUSY', detail: `${what} is busy and ${limit} requests wait already` };
}

function waitedTooLong(run: Run): BrokerVerdict {
  return { verdict: Verdict.busy, error: 'TFS_BUSY', detail: `no worker was free within ${run.invocation.timeoutMs} ms; it has not run` };
}

function awayVerdict(run: Run, resumed: boolean): BrokerVerdict {
  const { name, failover } = run.invocation.service.config;
  const detail = `the worker of service ${name} that had the request did not come back`;
  if (resumed && failover === 'always') return askAgain(detail);
  if (resumed) return { verdict: Verdict.workerLost, error: 'TFS_WORKER_LOST', detail };
  return { verdict: Verdict.noWorker, error: 'TFS_NO_WORKER', detail: `the worker is not online for service ${name}` };
}
