/** Brokers count as alive, and presence they wrote as true, while their last beat is this recent. */
export const ALIVE = "interval '30 s'";

/** SQL for a timestamp column as answers show it: ISO 8601 in UTC with milliseconds. */
export function iso(column: string): string {
  return `to_char(${column} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`;
}

/**
 * SQL condition, order and limit for the one row that is named: by name without regard to case, or by the id that lists
 * show; a name that looks like another row's id wins. A number is always an id.
 */
export function oneOf(name: string | number, nameColumn: string, idColumn: string, parameter: string): string {
  if (typeof name === 'number') return `${idColumn} = ${parameter}`;
  return `(lower(${nameColumn}) = lower(${parameter}) or ${idColumn}::text = ${parameter}) order by lower(${nameColumn}) = lower(${parameter}) desc limit 1`;
}

/** SQL that is true for rows the caller may see; of nobody's local rows admins take care. Parameters: user id, is admin. */
export function visible(table: string, user: string, admin: string): string {
  return `(${table}.visibility <> 'local' or ${table}.owner_id = ${user}::integer or (${table}.owner_id is null and ${admin}::boolean))`;
}

/** Column and value pairs of an UPDATE; undefined values are left as they are. */
export class Assignments {
  readonly values: unknown[];
  readonly #parts: string[] = [];

  /** `first`: values of the statement's earlier parameters. */
  constructor(...first: unknown[]) {
    this.values = first;
  }

  /** Sets a column unless the value is undefined. Column names come from code, never from requests. */
  set(column: string, value: unknown): this {
    if (value === undefined) return this;
    this.values.push(value);
    this.#parts.push(`"${column}" = $${this.values.length}`);
    return this;
  }

  get isEmpty(): boolean {
    return this.#parts.length === 0;
  }

  /** `"a" = $3, "b" = $4`. */
  get sql(): string {
    return this.#parts.join(', ');
  }
}
