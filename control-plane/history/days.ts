const DAY_MS = 86_400_000;

/** Days whose partitions can hold something, first and last included, as PostgreSQL reads dates. */
export interface Days {
  readonly first: string;
  readonly last: string;
}

const EVER: Days = { first: '-infinity', last: 'infinity' };

/** `2026-11-21` of a time in milliseconds. */
export function utcDay(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10);
}

/** The time in an id, milliseconds since 1970; null when it is none of version 7. */
export function timeOf(id: string): number | null {
  return id[14] === '7' ? Number.parseInt(id.slice(0, 8) + id.slice(9, 13), 16) : null;
}

/**
 * Where an invocation can be: the day of an id of version 7, or, where its maker's clock was wrong by more than a day, the day on
 * which a broker took it, which is between that of the id and today unless the id is from the future.
 */
export function daysOf(id: string, nowMs: number): Days {
  const ms = timeOf(id);
  if (ms === null || ms > nowMs + DAY_MS) return EVER;
  return { first: utcDay(ms), last: utcDay(Math.max(ms, nowMs)) };
}

/** Days that invocations accepted from one time to another can be kept under: their ids may be a day off. */
export function daysBetween(fromMs: number | null, toMs: number | null): Days {
  return {
    first: fromMs === null ? EVER.first : utcDay(fromMs - DAY_MS),
    last: toMs === null ? EVER.last : utcDay(toMs + DAY_MS),
  };
}
