import { TriggerFsError } from '../../protocol/errors.ts';
import type { Database, Transaction } from '../database.ts';
import { sendMail } from '../mailbox/repository.ts';
import type { HeldSlot } from './firing.ts';
import { boundedTime, type Recurrence, Recurrences, type Rule } from './recurrence.ts';

/** A schedule as planning reads it. */
interface PlanRow {
  readonly id: number;
  readonly teamId: number;
  readonly name: string;
  readonly version: number;
  readonly cron: string | null;
  readonly everyMs: number | null;
  readonly runAt: Date | null;
  readonly timezone: string;
  readonly plannedFrom: Date;
  readonly pausedUntil: Date | null;
  readonly lastDueAt: Date | null;
  readonly nextRunAt: Date | null;
  readonly offsetMs: number;
}

/** A first run, or why there is none. */
type Plan =
  | { readonly row: PlanRow; readonly recurrence: Recurrence; readonly next: number | null }
  | { readonly row: PlanRow; readonly error: string };

/** What planning did. */
export interface Planned {
  /** Slots that the schedules are planned for now. */
  readonly slots: readonly HeldSlot[];
  /** Schedules without a next run whose rows somebody holds: to be planned when they are free. */
  readonly locked: readonly number[];
}

const ROWS = `select s.id, s.team_id as "teamId", s.name, s.version, s.cron, (extract(epoch from s.every) * 1000)::float8 as "everyMs", s.run_at as "runAt",
    s.timezone, s.planned_from as "plannedFrom", s.paused_until as "pausedUntil", s.last_due_at as "lastDueAt", s.next_run_at as "nextRunAt",
    (extract(epoch from triggerfs.schedule_offset(s.id, s.jitter)) * 1000)::integer as "offsetMs"
  from triggerfs.schedules s where s.id = any($1::integer[]) and s.enabled and s.error is null and s.resident is null`;

/** Computes when schedules are due next, which PostgreSQL cannot. */
export class Planner {
  readonly #database: Database;
  readonly #recurrences = new Recurrences();

  /** The database is used as `triggerfs_jobs`. */
  constructor(database: Database) {
    this.#database = database;
  }

  /**
   * Sets the next run of schedules that have none, and writes to the team about those that cannot have one. Rows that somebody
   * is changing are not waited for: that may be a transaction which stays open for hours, and others would wait with them.
   */
  async plan(ids: readonly number[]): Promise<Planned> {
    return this.#database.fleet(async (tx) => {
      const unplanned = `${ROWS} and s.next_run_at is null`;
      const rows = await tx.rows<PlanRow>(`${unplanned} order by s.id for no key update skip locked`, [ids]);
      const free = new Set(rows.map(({ id }) => id));
      const skipped = ids.filter((id) => !free.has(id));
      const locked = skipped.length === 0 ? [] : await tx.rows<PlanRow>(unplanned, [skipped]);
      const plans = rows.map((row) => planOf(row, this.#recurrences));
      await setNext(tx, plans);
      for (const plan of plans) if ('error' in plan) await tell(tx, plan.row, plan.error);
      const slots = plans.flatMap((plan) => ('error' in plan || plan.next === null ? [] : [held(plan.row, plan.recurrence, plan.next)]));
      return { slots, locked: locked.map(({ id }) => id) };
    });
  }

  /** The slots that schedules are planned for now. */
  async slots(ids: readonly number[]): Promise<readonly HeldSlot[]> {
    const rows = await this.#database.rows<PlanRow>(`${ROWS} and s.next_run_at is not null`, [ids]);
    return rows.flatMap((row) => slotOf(row, this.#recurrences));
  }
}

/** The slot that a schedule is planned for. A rule that cannot be read here, such as a time zone too new for this process, keeps no others waiting. */
function slotOf(row: PlanRow, recurrences: Recurrences): HeldSlot[] {
  try {
    return [held(row, recurrences.of(ruleOf(row)), (row.nextRunAt as Date).getTime())];
  } catch {
    return [];
  }
}

/** The first slot after whatever came last: the change of the rule, the last slot, or the pause. */
function planOf(row: PlanRow, recurrences: Recurrences): Plan {
  try {
    const recurrence = recurrences.of(ruleOf(row));
    const paused = row.pausedUntil === null ? 0 : boundedTime(row.pausedUntil, 'the end of its pause') - 1;
    // The one time of a schedule counts even when it has passed already.
    const from = row.runAt === null ? boundedTime(row.plannedFrom, 'the time it was planned from') : 0;
    const last = row.lastDueAt === null ? 0 : boundedTime(row.lastDueAt, 'its last slot');
    const next = recurrence.next(Math.max(from, paused, last));
    if (next === null && row.runAt !== null && paused >= row.runAt.getTime()) return { row, error: 'its one time lies in the pause' };
    // One time that cannot be written would fail the statement for all that are planned with it.
    return { row, recurrence, next: next === null ? null : boundedTime(next, 'its next slot') };
  } catch (thrown) {
    return { row, error: TriggerFsError.from(thrown).message };
  }
}

function ruleOf(row: PlanRow): Rule {
  const { cron, everyMs, timezone } = row;
  return {
    cron,
    everyMs,
    timezone,
    runAt: row.runAt === null ? null : boundedTime(row.runAt, 'its one time'),
    plannedFrom: row.plannedFrom.getTime(),
  };
}

function held(row: PlanRow, recurrence: Recurrence, dueAt: number): HeldSlot {
  return { id: row.id, version: row.version, offsetMs: row.offsetMs, recurrence, dueAt };
}

async function setNext(tx: Transaction, plans: readonly Plan[]): Promise<void> {
  if (plans.length === 0) return;
  await tx.run(
    `update triggerfs.schedules s set next_run_at = w.next, error = w.error
     from unnest($1::integer[], $2::timestamptz[], $3::text[]) as w (id, next, error) where s.id = w.id`,
    [
      plans.map(({ row }) => row.id),
      plans.map((plan) => ('error' in plan || plan.next === null ? null : new Date(plan.next))),
      plans.map((plan) => ('error' in plan ? plan.error : null)),
    ],
  );
}

function tell(tx: Transaction, { teamId, name }: PlanRow, error: string): Promise<void> {
  const body = `${error}.\nCorrect it with: set schedules ${name} ..., or in the table triggerfs.schedules.`;
  return sendMail(tx, { teamId }, { kind: 'schedule', subject: `The schedule ${name} cannot be planned`, body });
}
