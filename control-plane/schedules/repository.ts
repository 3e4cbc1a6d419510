import { TriggerFsError } from '../../protocol/errors.ts';
import type { FireOutcome, FireView, ScheduleChange, ScheduleView } from '../../protocol/http/schedule.ts';
import { LIMITS } from '../../protocol/limits.ts';
import { isMoment } from '../../protocol/moment.ts';
import type { Principal } from '../auth/principal.ts';
import type { Transaction } from '../database.ts';
import { Assignments, iso, oneOf } from '../sql.ts';
import { assertCron, assertTimeZone, boundedTime, type Rule } from './recurrence.ts';

/** A schedule with what decides who may change it, and what its slots are computed from. */
export interface ScheduleRow extends ScheduleView {
  readonly ownerId: number | null;
  readonly plannedFrom: string;
  readonly offsetMs: number;
}

/** Which slots to list. */
export interface FireFilter {
  /** Only those that were due earlier; null: from the newest. */
  readonly before: string | null;
  readonly outcome: FireOutcome | null;
  readonly limit: number;
}

const STATE = `case
    when num_nonnulls(s.cron, s.every, s.run_at) = 0 or (s.trigger is null and num_nonnulls(s.service, s.plugin) < 2) then 'incomplete'
    when s.error is not null then 'error'
    when s.run_at is not null and s.last_due_at >= s.run_at then 'finished'
    when not s.enabled or s.paused_until > now() then 'paused'
    else 'active'
  end`;

const SCHEDULES = `select s.id, s.name, s.description, s.cron, ${milliseconds('s.every')} as "everyMs", ${iso('s.run_at')} as "runAt", s.timezone,
    s.trigger, s.service, s.plugin, s.args, s.payload, s.catchup, ${milliseconds('s.catchup_window')} as "catchupWindowMs", s.overlap,
    ${milliseconds('s.jitter')} as "jitterMs", s.enabled, ${iso('s.paused_until')} as "pausedUntil", s.resident,
    ${milliseconds('s.offline')} as "offlineMs",
    ${milliseconds('s.timeout')} as "timeoutMs", s.retries, ${STATE} as state, s.error, ${iso('s.next_run_at')} as "nextRunAt",
    ${iso('s.last_due_at')} as "lastDueAt", ${iso('s.last_fired_at')} as "lastFiredAt", s.last_outcome as "lastOutcome",
    s.last_item as "lastInvocation", o.identity as owner, s.owner_id as "ownerId", ${iso('s.planned_from')} as "plannedFrom",
    ${milliseconds('triggerfs.schedule_offset(s.id, s.jitter)')} as "offsetMs",
    ${iso('s.created_at')} as "createdAt", ${iso('s.updated_at')} as "updatedAt"
  from triggerfs.schedules s left join triggerfs.users o on o.id = s.owner_id
  where s.team_id = $1`;

const FIRES = `select ${iso('f.due_at')} as "dueAt", ${iso('f.through_at')} as "throughAt", f.outcome, f.source, ${iso('f.fired_at')} as "firedAt",
    f.lateness_ms::float8 as "latenessMs", f.invocation_id as "invocationId", f.reason, f.worker
  from triggerfs.schedule_fires f where f.team_id = $1 and f.schedule_id = $2`;

/** Schedules of a team; all its members see all of them. */
export function listSchedules(tx: Transaction, teamId: number): Promise<ScheduleRow[]> {
  return tx.rows<ScheduleRow>(`${SCHEDULES} order by lower(s.name)`, [teamId]);
}

/** A schedule by name or id (a number is always an id). @throws TriggerFsError TFS_NOT_FOUND */
export async function findSchedule(tx: Transaction, teamId: number, name: string | number): Promise<ScheduleRow> {
  const [schedule] = await tx.rows<ScheduleRow>(`${SCHEDULES} and ${oneOf(name, 's.name', 's.id', '$2')}`, [teamId, name]);
  if (schedule === undefined) throw new TriggerFsError('TFS_NOT_FOUND', `there is no schedule ${name}`);
  return schedule;
}

/** Makes a schedule without rule and target. Returns its id. */
export async function createSchedule(tx: Transaction, principal: Principal, name: string): Promise<number> {
  const [row] = await tx.rows<{ id: number }>(
    'insert into triggerfs.schedules (team_id, name, owner_id) values ($1, $2, $3) returning id',
    [principal.teamId, name, principal.id],
  );
  return (row as { id: number }).id;
}

/**
 * Changes a schedule. A new rule takes the place of the old one, and a new target that of the old one.
 * @throws TriggerFsError TFS_BAD_REQUEST for what is no rule, TFS_NOT_FOUND for a trigger or worker, TFS_UNKNOWN_SERVICE
 */
export async function changeSchedule(tx: Transaction, teamId: number, schedule: ScheduleRow, change: ScheduleChange): Promise<void> {
  const { cron, everyMs, runAt, timezone = schedule.timezone } = change;
  assertTimeZone(timezone);
  if (typeof cron === 'string') assertCron(cron);
  const bytes = change.args === undefined ? 0 : Buffer.byteLength(JSON.stringify(change.args));
  if (bytes > LIMITS.argsBytes)
    throw new TriggerFsError('TFS_TOO_LARGE', `the arguments have ${bytes} bytes, more than ${LIMITS.argsBytes}`);
  const moment = (text: string | null | undefined): Promise<Date | null | undefined> => momentOf(tx, text, timezone);
  const assignments = new Assignments(teamId, schedule.id)
    .set('name', change.name)
    .set('description', change.description)
    .set('timezone', change.timezone)
    .set('args', change.args === undefined ? undefined : JSON.stringify(change.args))
    .set('payload', change.payload)
    .set('catchup', change.catchup)
    .set('catchup_window', interval(change.catchupWindowMs))
    .set('overlap', change.overlap)
    .set('jitter', interval(change.jitterMs))
    .set('enabled', change.enabled)
    .set('paused_until', await moment(change.pausedUntil))
    .set('resident', change.resident)
    .set('offline', interval(change.offlineMs))
    .set('timeout', interval(change.timeoutMs))
    .set('retries', change.retries);
  setOneOf(assignments, 'a schedule has one of cron, every and run_at', [
    { cron },
    { every: interval(everyMs) },
    { run_at: await moment(runAt) },
  ]);
  setOneOf(assignments, 'a schedule has a trigger, or a service with a plugin', [
    { trigger: change.trigger },
    { service: change.service, plugin: change.plugin },
  ]);
  if (assignments.isEmpty) return;
  await tx.run(`update triggerfs.schedules set ${assignments.sql} where team_id = $1 and id = $2`, assignments.values);
}

/** Deletes a schedule with its slots. */
export async function deleteSchedule(tx: Transaction, teamId: number, id: number): Promise<void> {
  await tx.run('delete from triggerfs.schedules where team_id = $1 and id = $2', [teamId, id]);
}

/** Slots of a schedule, newest first. */
export function listFires(tx: Transaction, teamId: number, id: number, filter: FireFilter): Promise<FireView[]> {
  return tx.rows<FireView>(
    `${FIRES} and ($3::timestamptz is null or f.due_at < $3) and ($4::text is null or f.outcome = $4) order by f.due_at desc limit $5`,
    [teamId, id, filter.before, filter.outcome, filter.limit],
  );
}

/** The rule of a schedule, as slots are computed from it. */
export function ruleOf({ cron, everyMs, runAt, timezone, plannedFrom }: ScheduleRow): Rule {
  return { cron, everyMs, timezone, runAt: runAt === null ? null : Date.parse(runAt), plannedFrom: Date.parse(plannedFrom) };
}

/** A time that people wrote, in a time zone where it names no offset. @throws TriggerFsError TFS_BAD_REQUEST */
async function momentOf(tx: Transaction, text: string | null | undefined, timezone: string): Promise<Date | null | undefined> {
  if (text === null || text === undefined) return text;
  if (!isMoment(text)) throw new TriggerFsError('TFS_BAD_REQUEST', `${text} is no time such as 2026-12-24T18:00 or 2026-12-24T18:00:00Z`);
  const zoned = /(Z|[+-]\d\d:\d\d)$/.test(text);
  const [row] = zoned ? [] : await tx.rows<{ at: Date }>('select $1::timestamp at time zone $2 as at', [text, timezone]);
  return new Date(boundedTime(row?.at ?? new Date(text), text));
}

/** Sets the columns of the one alternative that is given, and clears those of the others. Null clears only its own. */
function setOneOf(assignments: Assignments, rule: string, alternatives: readonly Readonly<Record<string, unknown>>[]): void {
  const given = alternatives.filter((columns) => Object.values(columns).some((value) => value !== undefined && value !== null));
  if (given.length > 1) throw new TriggerFsError('TFS_BAD_REQUEST', rule);
  for (const columns of alternatives) {
    const cleared = given.length === 1 && !given.includes(columns);
    for (const [column, value] of Object.entries(columns)) assignments.set(column, cleared ? null : value);
  }
}

function interval(ms: number | null | undefined): string | null | undefined {
  return typeof ms === 'number' ? `${ms} ms` : ms;
}

function milliseconds(column: string): string {
  return `(extract(epoch from ${column}) * 1000)::float8`;
}
