import type { Overlap } from '../../protocol/http/schedule.ts';
import type { Logger } from '../../runtime/logging.ts';
import { formatInvocationId, InvocationIds } from '../../runtime/wire/invocation-id.ts';
import type { Database, Transaction } from '../database.ts';
import type { Clock } from './clock.ts';
import { withoutOverlap } from './overlap.ts';
import type { Recurrence } from './recurrence.ts';
import { type CatchUpPolicy, type Slot, settle } from './slots.ts';

/** A slot that this process waits for. Times are milliseconds since 1970. */
export interface HeldSlot {
  readonly id: number;
  readonly version: number;
  readonly dueAt: number;
  /** How much later it fires. */
  readonly offsetMs: number;
  readonly recurrence: Recurrence;
}

/** What became of one slot, for measurements. */
export interface FiredSlot {
  readonly outcome: Slot['outcome'];
  readonly latenessMs: number;
}

/** What a schedule runs. */
export interface Target {
  readonly id: number;
  readonly teamId: number;
  readonly overlap: Overlap;
  /** Null: there is nothing to run. */
  readonly service: string | null;
  readonly plugin: string | null;
  readonly args: Readonly<Record<string, string>>;
  readonly payload: string;
  readonly triggerId: number | null;
  readonly timeoutMs: number | null;
  readonly retries: number;
  /** Identity of its owner, or of who runs it by hand. */
  readonly caller: string;
}

/** What `triggerfs.take_schedules` says of a schedule that is about to fire. */
interface Taken extends Target, CatchUpPolicy {
  readonly dueAt: Date;
  readonly offsetMs: number;
  /** Its invocations that have not ended. */
  readonly open: number;
}

/** What one schedule's fire writes. */
interface Fire {
  readonly taken: Taken;
  readonly slots: readonly (Slot & { readonly invocation: string | null })[];
  readonly next: number | null;
}

/** So many schedules fire in one transaction. */
const BATCH = 500;
/** No SQLSTATE of the statement's own: the database is away, or the transaction was in the way of another. */
const PASSING = /^(08|57|53|40|55P03|25P03)/;

/**
 * Fires slots: one transaction compares and sets `next_run_at`, records each slot and hands the invocations to the queue. Whoever
 * comes second, here or in another control-plane, finds another next run and does nothing.
 */
export class Firing {
  readonly #database: Database;
  readonly #clock: Clock;
  readonly #log: Logger;
  readonly #ids = new InvocationIds();

  /** The database is used as `triggerfs_jobs`. */
  constructor(database: Database, clock: Clock, log: Logger) {
    this.#database = database;
    this.#clock = clock;
    this.#log = log;
  }

  /** Fires what is still due of these, and returns what became of it and which slots come next. @throws when the database is away */
  async fire(held: readonly HeldSlot[]): Promise<{ readonly fired: FiredSlot[]; readonly next: HeldSlot[] }> {
    const all: { fired: FiredSlot[]; next: HeldSlot[] } = { fired: [], next: [] };
    for (let start = 0; start < held.length; start += BATCH) {
      const batch = held.slice(start, start + BATCH);
      const byId = new Map(batch.map((slot) => [slot.id, slot]));
      for (const { taken, slots, next } of await this.#batch(batch)) {
        const now = this.#clock.now() - taken.offsetMs;
        for (const { dueAt, outcome } of slots) all.fired.push({ outcome, latenessMs: Math.max(0, now - dueAt) });
        const slot = byId.get(taken.id);
        if (next !== null && slot !== undefined) all.next.push({ ...slot, dueAt: next, offsetMs: taken.offsetMs });
      }
    }
    return all;
  }

  /** One bad schedule keeps no others from firing: it is tried alone, and then taken out with the reason. */
  async #batch(held: readonly HeldSlot[]): Promise<readonly Fire[]> {
    try {
      return await this.#database.fleet((tx) => this.#transaction(tx, held));
    } catch (error) {
      if (!isOfStatement(error)) throw error;
      const [only] = held;
      if (held.length === 1 && only !== undefined) {
        await this.#giveUp(only, error as Error);
        return [];
      }
      const fires: Fire[] = [];
      for (const slot of held) fires.push(...(await this.#batch([slot])));
      return fires;
    }
  }

  async #transaction(tx: Transaction, held: readonly HeldSlot[]): Promise<readonly Fire[]> {
    const taken = await tx.rows<Taken>('select * from triggerfs.take_schedules($1, $2, $3)', [
      held.map(({ id }) => id),
      held.map(({ dueAt }) => new Date(dueAt)),
      held.map(({ version }) => version),
    ]);
    if (taken.length === 0) return [];
    const recurrences = new Map(held.map(({ id, recurrence }) => [id, recurrence]));
    const fires = taken.map((row) => this.#decide(row, recurrences.get(row.id) as Recurrence));
    await record(tx, fires);
    await advance(tx, fires);
    return fires;
  }

  #decide(taken: Taken, recurrence: Recurrence): Fire {
    const { slots, next } = settle(recurrence, taken.dueAt.getTime(), this.#clock.now() - taken.offsetMs, taken);
    const left = taken.service === null ? slots.map(withoutTarget) : withoutOverlap(slots, taken.overlap, taken.open);
    return {
      taken,
      next,
      slots: left.map((slot) => ({ ...slot, invocation: slot.reason === '' ? formatInvocationId(this.#ids.next()) : null })),
    };
  }

  async #giveUp({ id, version }: HeldSlot, error: Error): Promise<void> {
    this.#log.error({ err: error, schedule: id }, 'a schedule cannot fire');
    const sql = 'update triggerfs.schedules set error = $3, next_run_at = null where id = $1 and version = $2';
    await this.#database.rows(sql, [id, version, `it could not fire: ${error.message}`]);
  }
}

/** What a schedule hands to the queue, as `triggerfs.enqueue` takes it. Fires that may not run beside each other share a key. */
export function itemOf(target: Target, id: string): object {
  return {
    id,
    team: target.teamId,
    source: 'schedule',
    caller: target.caller,
    service: target.service,
    plugin: target.plugin,
    args: target.args,
    schedule: target.id,
    retries: target.retries,
    ...(target.triggerId === null ? {} : { trigger: target.triggerId }),
    ...(target.timeoutMs === null ? {} : { timeoutMs: target.timeoutMs }),
    ...(target.overlap === 'allow' ? {} : { concurrencyKey: `schedule:${target.id}` }),
  };
}

async function record(tx: Transaction, fires: readonly Fire[]): Promise<void> {
  const rows: object[] = [];
  const items: object[] = [];
  const payloads: Buffer[] = [];
  for (const { taken, slots } of fires) {
    for (const { dueAt, throughAt, outcome, reason, invocation } of slots) {
      const due = { due: new Date(dueAt), through: throughAt === null ? null : new Date(throughAt) };
      rows.push({ schedule: taken.id, team: taken.teamId, offsetMs: taken.offsetMs, outcome, reason, invocation, ...due });
      if (invocation === null) continue;
      items.push(itemOf(taken, invocation));
      payloads.push(Buffer.from(taken.payload));
    }
  }
  await tx.rows('select triggerfs.record_fires($1, $2, $3)', [JSON.stringify(rows), JSON.stringify(items), payloads]);
}

async function advance(tx: Transaction, fires: readonly Fire[]): Promise<void> {
  const last = fires.map(({ slots }) => slots.at(-1) as Fire['slots'][number]);
  await tx.run(
    `update triggerfs.schedules s set next_run_at = w.next, last_due_at = w.due, last_outcome = w.outcome, last_item = coalesce(w.item, s.last_item),
       last_fired_at = case when w.item is null then s.last_fired_at else clock_timestamp() end
     from unnest($1::integer[], $2::timestamptz[], $3::timestamptz[], $4::text[], $5::uuid[]) as w (id, next, due, outcome, item) where s.id = w.id`,
    [
      fires.map(({ taken }) => taken.id),
      fires.map(({ next }) => (next === null ? null : new Date(next))),
      last.map(({ dueAt, throughAt }) => new Date(throughAt ?? dueAt)),
      last.map(({ outcome }) => outcome),
      last.map(({ invocation }) => invocation),
    ],
  );
}

function withoutTarget(slot: Slot): Slot {
  return { ...slot, outcome: 'missed', reason: slot.reason || 'its trigger has no service or no plugin' };
}

/** Whether the statement itself is wrong, so that it would fail again. */
function isOfStatement(error: unknown): boolean {
  const state = (error as { code?: unknown }).code;
  return typeof state === 'string' && /^[0-9A-Z]{5}$/.test(state) && !PASSING.test(state);
}
