import { Cron } from 'croner';
import { type CronFieldError, validateDetailed } from 'node-cron';
import { TriggerFsError } from '../../protocol/errors.ts';

/** The rule of a schedule: one of the first three is set. Times are milliseconds since 1970. */
export interface Rule {
  readonly cron: string | null;
  readonly everyMs: number | null;
  readonly runAt: number | null;
  /** IANA name. */
  readonly timezone: string;
  /** What `everyMs` is counted from. */
  readonly plannedFrom: number;
}

/** When a rule is due. */
export interface Recurrence {
  /** The first slot after a time; null: never again. */
  next(after: number): number | null;
  /** At most so many slots up to and including a time, newest first. */
  previous(until: number, count: number): readonly number[];
}

const FIELDS = /\s+/;
const CACHED = 10_000;
/** Years of four digits: what is outside is nobody's schedule, and other programs cannot write it. */
const EARLIEST = new Date('0001-01-01T00:00:00Z').getTime();
const LATEST = new Date('9999-12-31T23:59:59.999Z').getTime();

/**
 * Makes a recurrence of a rule.
 * @throws TriggerFsError TFS_BAD_REQUEST for a cron expression or a time zone that is none
 */
export function recurrenceOf(rule: Rule): Recurrence {
  if (rule.cron !== null) return new CronRecurrence(rule.cron, rule.timezone);
  if (rule.everyMs !== null) return new PeriodicRecurrence(rule.everyMs, rule.plannedFrom);
  const { runAt } = rule;
  return {
    next: (after) => (runAt !== null && runAt > after ? runAt : null),
    previous: (until, count) => (runAt !== null && runAt <= until && count > 0 ? [runAt] : []),
  };
}

/** Fixed periods, of 24 hours a day whatever clocks show. */
class PeriodicRecurrence implements Recurrence {
  readonly #every: number;
  readonly #from: number;

  constructor(every: number, from: number) {
    this.#every = every;
    this.#from = from;
  }

  next(after: number): number {
    const passed = Math.max(0, Math.floor((after - this.#from) / this.#every));
    return this.#from + (passed + 1) * this.#every;
  }

  previous(until: number, count: number): readonly number[] {
    const passed = Math.floor((until - this.#from) / this.#every);
    return Array.from({ length: Math.max(0, Math.min(count, passed)) }, (_, index) => this.#from + (passed - index) * this.#every);
  }
}

/**
 * A cron expression in a time zone. croner runs times of a gap once after it, and fixed times of a repeated hour once.
 * Schedules that share an expression ask for the same slot one after another, so the last answer is kept.
 */
class CronRecurrence implements Recurrence {
  readonly #cron: Cron;
  #asked = Number.NaN;
  #answer: number | null = null;

  constructor(expression: string, timezone: string) {
    assertCron(expression);
    assertTimeZone(timezone);
    this.#cron = new Cron(expression.trim(), { paused: true, timezone });
  }

  next(after: number): number | null {
    if (after !== this.#asked) {
      this.#asked = after;
      this.#answer = this.#cron.nextRun(new Date(after))?.getTime() ?? null;
    }
    return this.#answer;
  }

  previous(until: number, count: number): readonly number[] {
    // Expressions have whole seconds, and the reference itself does not count.
    return this.#cron.previousRuns(count, new Date(Math.floor(until / 1000) * 1000 + 1000)).map((date) => date.getTime());
  }
}

/** Recurrences by their rule: reading an expression costs more than finding its next slot, and many schedules share one. */
export class Recurrences {
  readonly #crons = new Map<string, Recurrence>();

  /** @throws TriggerFsError TFS_BAD_REQUEST for a cron expression or a time zone that is none */
  of(rule: Rule): Recurrence {
    if (rule.cron === null) return recurrenceOf(rule);
    const key = `${rule.timezone} ${rule.cron}`;
    const known = this.#crons.get(key);
    if (known !== undefined) return known;
    const recurrence = recurrenceOf(rule);
    if (this.#crons.size >= CACHED) this.#crons.clear();
    this.#crons.set(key, recurrence);
    return recurrence;
  }
}

/**
 * Checks a cron expression: what node-cron (on workers) and croner (here) both take and read in the same way.
 * @throws TriggerFsError TFS_BAD_REQUEST naming the field
 */
export function assertCron(expression: string): void {
  const text = expression.trim();
  const bad = (why: string): TriggerFsError => new TriggerFsError('TFS_BAD_REQUEST', `cron "${text}": ${why}`);
  const { valid, errors } = validateDetailed(text);
  if (!valid) throw bad(errors.map(describe).join('; ') || 'it is no cron expression');
  const fields = text.split(FIELDS);
  const [day, , weekday] = fields.slice(-3);
  if (fields.length > 1 && isRestricted(day) && isRestricted(weekday)) {
    throw bad('day of month and day of week are both restricted, which programs read differently; write two schedules');
  }
  let next: Date | null;
  try {
    next = new Cron(text, { paused: true, timezone: 'UTC' }).nextRun(new Date(0));
  } catch (error) {
    throw bad((error as Error).message.replace(/^CronPattern: /, ''));
  }
  if (next === null) throw bad('it is never due');
}

/**
 * A time that slots can be computed from, in milliseconds since 1970. PostgreSQL knows more of them than JavaScript: also infinite ones.
 * @throws TriggerFsError TFS_BAD_REQUEST for a time that is before the year 1 or after the year 9999
 */
export function boundedTime(time: Date | number, what: string): number {
  const ms = Number(time);
  if (ms >= EARLIEST && ms <= LATEST) return ms;
  throw new TriggerFsError('TFS_BAD_REQUEST', `${what} is not between the years 1 and 9999`);
}

/** @throws TriggerFsError TFS_BAD_REQUEST unless it is the IANA name of a time zone */
export function assertTimeZone(name: string): void {
  try {
    // Offsets such as +02:00 are taken there, but name no zone.
    if (/^[A-Za-z]/.test(name)) return void new Intl.DateTimeFormat('en', { timeZone: name });
  } catch {
    // Told below.
  }
  throw new TriggerFsError('TFS_BAD_REQUEST', `there is no time zone ${name}; write an IANA name such as America/New_York`);
}

function isRestricted(field: string | undefined): boolean {
  return field !== '*' && field !== '?';
}

function describe({ field, value, message }: CronFieldError): string {
  if (field === 'expression') return message;
  return `${field.replaceAll(/([A-Z])/g, (letter) => ` ${letter.toLowerCase()}`)} ${value} is not possible`;
}
