/** One column of a table: its heading and what stands in it for an item. */
export interface Column<T> {
  readonly title: string;
  readonly of: (item: T) => string | number;
}

/** What a command answers. */
export type Answer =
  /** `items` are the same things as JSON. */
  | {
      readonly kind: 'table';
      readonly titles: readonly string[];
      readonly rows: readonly string[][];
      readonly items: readonly unknown[];
      /** Below the rows of a whole table. */ readonly notes: readonly string[];
    }
  /** Lines to read; `value` is the same as JSON. */
  | { readonly kind: 'text'; readonly lines: readonly string[]; readonly value: unknown };

/** A table answer; `notes` are lines below it. */
export function table<T>(columns: readonly Column<T>[], items: readonly T[], notes: readonly string[] = []): Answer {
  const titles = columns.map(({ title }) => title);
  return { kind: 'table', titles, rows: items.map((item) => columns.map(({ of }) => String(of(item)))), items, notes };
}

/** A text answer. */
export function text(lines: readonly string[], value: unknown = lines): Answer {
  return { kind: 'text', lines, value };
}

const DAYS = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat'] as const;
const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'] as const;

/** `Mon, 30 Apr 2018 18:45:30 UTC`, as the tables show times; empty for none. */
export function shownTime(iso: string | null): string {
  if (iso === null) return '';
  const date = new Date(iso);
  const pad = (value: number): string => String(value).padStart(2, '0');
  const day = `${DAYS[date.getUTCDay()]}, ${pad(date.getUTCDate())} ${MONTHS[date.getUTCMonth()]} ${date.getUTCFullYear()}`;
  return `${day} ${pad(date.getUTCHours())}:${pad(date.getUTCMinutes())}:${pad(date.getUTCSeconds())} UTC`;
}
