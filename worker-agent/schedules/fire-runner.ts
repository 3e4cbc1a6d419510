import { readBatch } from '../../protocol/batch.ts';
import { ERRORS } from '../../protocol/errors.ts';
import { LIMITS } from '../../protocol/limits.ts';
import { Layout, RecordType } from '../../protocol/records.ts';
import type { ResidentSchedule } from '../../protocol/resident.ts';
import { Verdict, verdictName } from '../../protocol/verdicts.ts';
import { Outbox } from '../../runtime/wire/outbox.ts';
import { slotInvocationId } from '../../runtime/wire/slot-id.ts';
import { BoundPlan } from '../catalogue/bound-plan.ts';
import type { Run, RunLink } from '../runs/run.ts';
import type { RunDesk } from '../runs/run-desk.ts';
import type { FireEnd, JournalFire } from './fire.ts';

/** A worker that has no room is asked again after this long, until `BUSY_MS` have passed. */
const RETRY_MS = 100;
const BUSY_MS = 30_000;

/** What a runner tells about its fires. */
export interface FireEvents {
  output(fire: JournalFire, flags: number, source: Buffer, start: number, end: number): void;
  ended(fire: JournalFire, end: Omit<FireEnd, 'droppedBytes'>): void;
  /** The worker shuts down before the fire could begin: it waits for the next start. */
  postponed(fire: JournalFire): void;
}

interface OpenFire {
  readonly fire: JournalFire;
  readonly plan: BoundPlan;
  readonly since: number;
  startedAt: number;
  run: Run | null;
}

/** Options of the runner. */
export interface FireRunnerOptions {
  readonly desk: RunDesk;
  readonly team: string;
  readonly forget: (plan: BoundPlan) => void;
  readonly events: FireEvents;
}

/**
 * Runs fires at the desk where brokers' tasks are run, by the same rules: it stands where a broker would stand and speaks the same
 * records, without a socket. Credit is granted as the output is taken, so the journal's pace is the plugin's.
 */
export class FireRunner implements RunLink {
  readonly outbox: Outbox;
  readonly #options: FireRunnerOptions;
  readonly #open = new Map<number, OpenFire>();
  readonly #retries = new Map<NodeJS.Timeout, OpenFire>();
  #lastNumber = 0;

  constructor(options: FireRunnerOptions) {
    this.#options = options;
    this.outbox = new Outbox(
      async (batch) => readBatch(batch, this.#record),
      () => undefined,
    );
  }

  closed(): void {
    // RESULT tells the same, in its turn.
  }

  /** Runs a fire, whose end is told later. */
  start(fire: JournalFire): void {
    const { name, service, plugin, args, denied } = fire.run as NonNullable<JournalFire['run']>;
    const { team, events } = this.#options;
    if (denied !== undefined) return events.ended(fire, deniedEnd(denied));
    const plan = new BoundPlan({ plan: 0, plugin, args, service, callerTeam: team, caller: `schedule ${name}` });
    this.#take({ fire, plan, since: performance.now(), startedAt: Date.now(), run: null });
  }

  /** Resolves when everything that ended so far was told. */
  async flushed(): Promise<void> {
    await this.outbox.flushed();
  }

  /** What waits for room waits for the next start. */
  stop(): void {
    for (const [timer, { fire }] of this.#retries) {
      clearTimeout(timer);
      this.#options.events.postponed(fire);
    }
    this.#retries.clear();
  }

  #take(open: OpenFire): void {
    this.#lastNumber = this.#lastNumber === 0xffffffff ? 1 : this.#lastNumber + 1;
    const task = encodeTask(this.#lastNumber, open.fire);
    this.#open.set(this.#lastNumber, open);
    open.run = this.#options.desk.take(this, open.plan, task, 0, task.length, performance.now());
  }

  readonly #record = (type: number, flags: number, batch: Buffer, start: number, end: number): void => {
    const number = batch.readUInt32LE(start);
    const open = this.#open.get(number);
    if (open === undefined) return;
    if (type === RecordType.started) {
      open.startedAt = Date.now();
    } else if (type === RecordType.output) {
      const data = start + Layout.output.data;
      this.#options.events.output(open.fire, flags, batch, data, end);
      open.run?.grant(end - data);
    } else if (type === RecordType.result) {
      this.#open.delete(number);
      this.#result(open, batch, start, end);
    }
  };

  #result(open: OpenFire, batch: Buffer, start: number, end: number): void {
    const verdict = batch[start + Layout.result.verdict] as number;
    const error = batch.readUInt16LE(start + Layout.result.error);
    const { events, forget } = this.#options;
    if (verdict === Verdict.busy && error === ERRORS.TFS_DRAINING.number) {
      forget(open.plan);
      events.postponed(open.fire);
      return;
    }
    if (verdict === Verdict.busy && performance.now() - open.since < BUSY_MS) return this.#retry(open);
    forget(open.plan);
    events.ended(open.fire, {
      verdict: verdictName(verdict),
      exitCode: batch.readInt16LE(start + Layout.result.exitCode),
      signal: batch[start + Layout.result.signal] as number,
      error,
      detail: batch.toString('utf8', start + Layout.result.detail, end).slice(0, 4096),
      startedAt: open.startedAt,
      endedAt: Date.now(),
      durationUs: batch.readUInt32LE(start + Layout.result.durationUs),
    });
  }

  #retry(open: OpenFire): void {
    const timer = setTimeout(() => {
      this.#retries.delete(timer);
      this.#take(open);
    }, RETRY_MS);
    this.#retries.set(timer, open);
  }
}

function deniedEnd(detail: string): Omit<FireEnd, 'droppedBytes'> {
  const { number, exitCode } = ERRORS.TFS_PLUGIN_NOT_ALLOWED;
  const now = Date.now();
  return { verdict: 'denied', exitCode, signal: 0, error: number, detail, startedAt: now, endedAt: now, durationUs: 0 };
}

function encodeTask(number: number, fire: JournalFire): Buffer {
  const { payload, timeoutMs } = fire.run as Pick<ResidentSchedule, 'payload' | 'timeoutMs'>;
  const bytes = Buffer.byteLength(payload);
  const task = Buffer.alloc(Layout.task.payload + bytes);
  task.writeUInt32LE(number, Layout.task.run);
  slotInvocationId(fire.schedule, fire.due).copy(task, Layout.task.invocation);
  task.writeUInt32LE(timeoutMs, Layout.task.timeoutMs);
  task.writeUInt32LE(LIMITS.initialCreditBytes, Layout.task.credit);
  task.write(payload, Layout.task.payload);
  return task;
}
