/** What the database says about one item. */
export interface LedgerRow {
  readonly key: string;
  readonly state: string;
  /** How often its request went out, over all attempts; one that was never settled may have gone out once more than is known. */
  readonly sends: number;
  /** Attempts whose end nobody noted: their dispatcher was killed. */
  readonly open: number;
}

/** What was found. All lists hold keys and must be empty. */
export interface Findings {
  readonly accepted: number;
  readonly executed: number;
  /** Executions beyond the first of an item. */
  readonly duplicates: number;
  /** Accepted, and not executed. */
  readonly lost: readonly string[];
  /** Executed, and never accepted. */
  readonly foreign: readonly string[];
  /** Came to no good end: still open, dead, expired. */
  readonly unfinished: readonly string[];
  /** Executed more often than their attempts say. */
  readonly hidden: readonly string[];
  /** Executed more often than once for each kill, beside the first time. */
  readonly excessive: readonly string[];
}

/**
 * Compares what was accepted, what was executed (keys as the plugin appended them, with repetitions) and what the queue says.
 * `kills`: how many processes were killed in all.
 */
export function audit(accepted: ReadonlySet<string>, executed: readonly string[], rows: readonly LedgerRow[], kills: number): Findings {
  const times = new Map<string, number>();
  for (const key of executed) times.set(key, (times.get(key) ?? 0) + 1);
  const known = new Map(rows.map((row) => [row.key, row]));
  const visible = (key: string): number => {
    const row = known.get(key);
    return row === undefined ? 0 : row.sends + row.open;
  };
  return {
    accepted: accepted.size,
    executed: times.size,
    duplicates: executed.length - times.size,
    lost: [...accepted].filter((key) => !times.has(key)),
    foreign: [...times.keys()].filter((key) => !accepted.has(key)),
    unfinished: [...accepted].filter((key) => known.get(key)?.state !== 'done'),
    hidden: [...times].filter(([key, count]) => count > visible(key)).map(([key]) => key),
    excessive: [...times].filter(([, count]) => count > 1 + kills).map(([key]) => key),
  };
}

/** Whether nothing is wrong. */
export function isClean({ lost, foreign, unfinished, hidden, excessive }: Findings): boolean {
  return [lost, foreign, unfinished, hidden, excessive].every((list) => list.length === 0);
}
