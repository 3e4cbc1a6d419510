/** What the database says about one item. */
export interface LedgerRow {
  readonly key: string;
  readonly state: string;
  /** How often its request went out, over all attempts. Noted before each time, so never less than it was executed. */
  readonly sends: number;
}

/** What was accepted and what was executed. */
export interface Records {
  /** Accepted by the queue. */
  readonly queued: ReadonlySet<string>;
  /** Accepted by trigger files. */
  readonly written: ReadonlySet<string>;
  /** Perhaps accepted by trigger files: their writer was told of an error. */
  readonly uncertain: ReadonlySet<string>;
  /** Keys as the plugin wrote them down, with repetitions. */
  readonly executed: readonly string[];
  /** What the queue says. */
  readonly rows: readonly LedgerRow[];
  /** How many processes were killed in all. */
  readonly kills: number;
}

/** What was found. All lists hold keys and must be empty. */
export interface Findings {
  readonly accepted: number;
  /** How many of them by trigger files. */
  readonly written: number;
  readonly executed: number;
  /** Executions beyond the first of an item. */
  readonly duplicates: number;
  /** Accepted, and not executed. */
  readonly lost: readonly string[];
  /** Executed, and never accepted. */
  readonly foreign: readonly string[];
  /** Came to no good end in the queue: still open, dead, expired. */
  readonly unfinished: readonly string[];
  /** Executed more often than their attempts say. */
  readonly hidden: readonly string[];
  /** Executed more often than once for each kill, beside the first time. */
  readonly excessive: readonly string[];
}

/** Compares what was accepted, what was executed and what the queue says. */
export function audit({ queued, written, uncertain, executed, rows, kills }: Records): Findings {
  const times = new Map<string, number>();
  for (const key of executed) times.set(key, (times.get(key) ?? 0) + 1);
  const known = new Map(rows.map((row) => [row.key, row]));
  const byFile = (key: string): boolean => written.has(key) || uncertain.has(key);
  const accepted = [...queued, ...written];
  return {
    accepted: accepted.length,
    written: written.size,
    executed: times.size,
    duplicates: executed.length - times.size,
    lost: accepted.filter((key) => !times.has(key)),
    foreign: [...times.keys()].filter((key) => !queued.has(key) && !byFile(key)),
    unfinished: [...queued].filter((key) => known.get(key)?.state !== 'done'),
    // Trigger files have no attempts: what they repeat is only counted.
    hidden: [...times].filter(([key, count]) => !byFile(key) && count > (known.get(key)?.sends ?? 0)).map(([key]) => key),
    excessive: [...times].filter(([, count]) => count > 1 + kills).map(([key]) => key),
  };
}

/** Keys with which something is wrong. */
export function suspects({ lost, foreign, unfinished, hidden, excessive }: Findings): string[] {
  return [...new Set([lost, foreign, unfinished, hidden, excessive].flat())];
}

/** Whether nothing is wrong. */
export function isClean(findings: Findings): boolean {
  return suspects(findings).length === 0;
}
