import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { RouteRule } from '../../client/route.ts';
import { TriggerFsError } from '../../protocol/errors.ts';
import type { QueueState } from '../../protocol/http/queue.ts';
import type { Outcome } from '../../protocol/outcome.ts';
import { payloadAad } from '../../runtime/acceptance/new-item.ts';
import type { Logger } from '../../runtime/logging.ts';
import { byteaArray } from '../../runtime/postgres/bytea-array.ts';
import { open, seal, type TeamKeys } from '../../runtime/sealing/index.ts';
import { Backoff } from '../../runtime/wire/backoff.ts';
import { parseInvocationId } from '../../runtime/wire/invocation-id.ts';
import type { Database } from '../database.ts';
import type { Claim } from './claim.ts';
import { decide } from './decision.ts';
import type { Job, JobQueue } from './job-queue.ts';
import type { QueueMetrics } from './queue-metrics.ts';
import { Resends } from './resends.ts';
import { RunningItem } from './running-item.ts';
import { Settler } from './settler.ts';
import type { TeamSession } from './team-session.ts';
import type { TeamSessions } from './team-sessions.ts';

/** Items that one control-plane has at brokers at once, and takes at once. */
const MAX_RUNNING = 1000;
const MAX_FETCH = 250;
/** How often the queue is asked when nothing nudges, and after ten quiet seconds. */
const POLL_MS = 500;
const QUIET_POLL_MS = 1_000;
const QUIET_AFTER_MS = 10_000;
const CLAIM_MS = 8_000;
const CLAIM_RETRY_MS = 200;

/** Options of a dispatcher. */
export interface DispatcherOptions {
  /** As the role triggerfs_jobs. */
  readonly database: Database;
  readonly jobs: JobQueue;
  readonly sessions: TeamSessions;
  readonly keys: TeamKeys;
  readonly metrics: QueueMetrics;
  readonly log: Logger;
  /** A service is left alone for so many milliseconds; then its items can be released. */
  readonly onHold: (ms: number) => void;
}

/**
 * Takes items that are due from the queue, has brokers run them, and settles them.
 *
 *   new ──start──▶ fetching ──stop──▶ stopped
 *
 * fetching: at most 1000 items are at brokers; their requests are detached, so that they outlive this process. Each time that one
 * goes out was noted before, as an attempt or as a further send of it, and a broker has at most one worker begin with it: what is
 * executed can be seen, whoever dies.
 * stopped: leases are given back; whoever takes one next asks for the same invocation and gets its answer.
 */
export class Dispatcher {
  /** Fences the attempts of this process. */
  readonly id: string = randomUUID();
  readonly running = new Map<string, RunningItem>();
  readonly #options: DispatcherOptions;
  readonly #settler: Settler;
  readonly #resends: Resends;
  readonly #pause = new Backoff(200, 5_000);
  #state: 'new' | 'fetching' | 'stopped' = 'new';
  #loop: Promise<void> | null = null;
  #wake: (() => void) | null = null;
  #nudged = false;
  #busyAt = performance.now();

  constructor(options: DispatcherOptions) {
    this.#options = options;
    const { database, keys, log } = options;
    this.#resends = new Resends({ database, log });
    this.#settler = new Settler({ database, keys, log, settled: (item, state) => this.#settled(item, state) });
  }

  /** Begins. */
  start(): void {
    if (this.#state !== 'new') return;
    this.#state = 'fetching';
    this.#loop = this.#run();
  }

  /** Something may be due: looks at once. */
  nudge(): void {
    this.#nudged = true;
    this.#wake?.();
  }

  /** Asks for the end of an item's run if it is here. */
  cancel(id: string): void {
    this.running.get(id)?.call?.cancel();
  }

  /** Writes what has ended and leaves the rest to others. */
  async stop(): Promise<void> {
    this.#state = 'stopped';
    this.#resends.stop();
    this.nudge();
    await this.#loop;
    await this.#settler.stop();
    await this.#options.jobs.giveBack([...this.running.values()].map(({ job }) => job)).catch(() => undefined);
  }

  async #run(): Promise<void> {
    while (this.#state === 'fetching') {
      try {
        const more = await this.#fetch();
        this.#pause.reset();
        if (!more) await this.#rest();
      } catch (err) {
        this.#options.log.warn({ err }, 'the queue cannot be read');
        await this.#wait(this.#pause.next());
      }
    }
  }

  /** One turn; false when there is no need for another one at once. */
  async #fetch(): Promise<boolean> {
    const free = Math.min(MAX_FETCH, MAX_RUNNING - this.running.size);
    if (free <= 0) return false;
    this.#nudged = false;
    const jobs = await this.#options.jobs.fetch(free);
    if (jobs.length === 0) return false;
    this.#busyAt = performance.now();
    const leases = new Map(jobs.map((job) => [job.id, job]));
    const claims = await this.#claim(jobs);
    this.#sealClear(claims);
    for (const claim of claims) if (claim.action !== 'park') this.#take(claim, leases.get(claim.id) as Job);
    return jobs.length === free;
  }

  /** Asks again when the database is lost in between: the leases would only end after a while. */
  async #claim(jobs: readonly Job[]): Promise<readonly Claim[]> {
    const ids = jobs.map(({ id }) => id);
    for (const end = performance.now() + CLAIM_MS; ; await sleep(CLAIM_RETRY_MS)) {
      try {
        return await this.#options.database.rows<Claim>('select * from triggerfs.queue_claim($1, $2)', [ids, this.id]);
      } catch (error) {
        if (this.#state === 'stopped' || performance.now() > end) throw error;
      }
    }
  }

  async #rest(): Promise<void> {
    if (this.#nudged && this.running.size < MAX_RUNNING) return;
    const quiet = performance.now() - this.#busyAt > QUIET_AFTER_MS && this.running.size === 0;
    await this.#wait(quiet ? QUIET_POLL_MS : POLL_MS);
  }

  /** Waits so long, or until a nudge. */
  async #wait(ms: number): Promise<void> {
    if (this.#state !== 'fetching') return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#wake = resolve;
    const timer = setTimeout(resolve, ms);
    await promise;
    clearTimeout(timer);
    this.#wake = null;
  }

  #take(claim: Claim, job: Job): void {
    const known = this.running.get(claim.id);
    if (known !== undefined) {
      // The lease was lost, for example with the database, and came back: what is on its way goes on as the newer attempt.
      known.claim = claim;
      known.job = job;
      // It may have been held because that attempt was overtaken.
      if (known.call?.held === true) this.#resends.add(known);
      return;
    }
    const item = new RunningItem(claim, job);
    this.running.set(claim.id, item);
    if (claim.action === 'expire') this.#end(item, ended('expired', 'TFS_EXPIRED', expiryDetail(claim)));
    else if (claim.action === 'cancel') this.#end(item, ended('cancelled', 'TFS_CANCELLED', 'cancelled before it ran'));
    else void this.#send(item);
  }

  async #send(item: RunningItem): Promise<void> {
    const { claim } = item;
    const { sessions, metrics } = this.#options;
    let session: TeamSession | null = null;
    try {
      if (claim.team === null) throw new TriggerFsError('TFS_UNKNOWN_TEAM', 'the team does not exist any more');
      const payload = await this.#payload(claim);
      session = await sessions.acquire({ id: claim.team_id, name: claim.team });
      metrics.lag.observe(Math.max(0, Date.now() - claim.due_at.getTime()) / 1000);
      item.call = this.#request(item, session, payload);
      if (claim.cancel_requested) item.call.cancel();
    } catch (thrown) {
      if (session !== null) sessions.release(session);
      // What is no error of ours is the database's: it will be back.
      const waits = new TriggerFsError('TFS_UNAVAILABLE', 'the database is not available at the moment', { cause: thrown });
      const { code, message } = thrown instanceof TriggerFsError ? thrown : waits;
      this.#end(item, ended(code === 'TFS_NO_BROKER' ? 'no-worker' : 'denied', code, message));
    }
  }

  #request(item: RunningItem, session: TeamSession, payload: Buffer): NonNullable<RunningItem['call']> {
    const { claim, collector } = item;
    const handlers = {
      manifest: ({ workers }: { workers: readonly string[] }) => {
        item.worker = workers.length === 1 ? (workers[0] as string) : '';
      },
      output: (_call: unknown, data: Buffer, stderr: boolean) => collector.output(data, stderr),
      verdict: (_call: unknown, verdict: Parameters<typeof collector.verdict>[0]) => collector.verdict(verdict),
      lost: () => this.#resends.add(item),
      done: (_call: unknown, outcome: Outcome) => {
        this.#options.sessions.release(session);
        this.#end(item, outcome);
      },
    };
    return session.route(ruleOf(claim)).send(payload, handlers, {
      invocation: parseInvocationId(claim.invocation_id) as Buffer,
      detached: true,
      once: true,
      resume: claim.action === 'resume',
      resumeWorker: claim.resume_worker ?? 0,
      timeoutMs: claim.timeout_ms ?? 0,
    });
  }

  async #payload(claim: Claim): Promise<Buffer> {
    if (claim.payload === null) return Buffer.alloc(0);
    return claim.sealed ? open(this.#options.keys, claim.team_id, payloadAad(claim.team_id, claim.id), claim.payload) : claim.payload;
  }

  /** Payloads that SQL accepted came in clear; they do not stay so. */
  #sealClear(claims: readonly Claim[]): void {
    const clear = claims.filter((claim) => !claim.sealed && claim.payload !== null && claim.team !== null);
    if (clear.length === 0) return;
    const { keys, database, log } = this.#options;
    const sealAll = async (): Promise<void> => {
      const sealed = await Promise.all(
        clear.map(async ({ id, team_id, payload }) => seal(await keys.current(team_id), payloadAad(team_id, id), payload as Buffer)),
      );
      await database.rows('select triggerfs.queue_seal($1, $2)', [clear.map(({ id }) => id), byteaArray(sealed)]);
    };
    sealAll().catch((err: unknown) => log.warn({ err }, 'payloads were not sealed; the next attempt seals them'));
  }

  #end(item: RunningItem, outcome: Outcome): void {
    // A client that is stopped ends its calls; the runs go on, and whoever takes the lease hears of them.
    if (this.#state === 'stopped') return;
    const decision = outcome.verdict === 'expired' && item.call === null ? EXPIRED : decide(item.claim, outcome, Math.random);
    item.ending = { outcome, decision, result: item.collector.result(outcome), worker: item.worker };
    this.#settler.add(item);
  }

  #settled(item: RunningItem, state: QueueState | null): void {
    this.running.delete(item.claim.id);
    const { metrics } = this.#options;
    if (state === null) metrics.late.inc();
    else if (state === 'queued') this.#again(item);
    else metrics.settled.inc({ state });
    this.nudge();
  }

  #again({ ending }: RunningItem): void {
    const { retried = false, hold = false, delayMs = 0 } = ending?.decision ?? {};
    this.#options.metrics.retries.inc({ reason: retried ? 'verdict' : 'wait' });
    if (hold) this.#options.onHold(delayMs);
    else if (delayMs < POLL_MS) setTimeout(() => this.nudge(), delayMs).unref();
  }
}

const EXPIRED = { state: 'expired', delayMs: 0, retried: false, hold: false, uncertain: false } as const;

function ended(verdict: Outcome['verdict'], error: Outcome['error'], detail: string): Outcome {
  return { verdict, exitCode: 75, runs: 0, error, detail };
}

function expiryDetail({ due_at, waits }: Claim): string {
  return `it waited since ${due_at.toISOString()}, longer than its max age${waits > 0 ? `, ${waits} times for a worker` : ''}`;
}

function ruleOf(claim: Claim): RouteRule {
  const { service, plugin, args, source, caller } = claim;
  return {
    service,
    plugin,
    args,
    ...(claim.trigger_id === null ? {} : { trigger: claim.trigger_id }),
    origin: {
      source,
      caller,
      ...(claim.schedule_id === null ? {} : { schedule: claim.schedule_id }),
      ...(claim.invocation_id === claim.id ? {} : { item: claim.id }),
    },
  };
}
