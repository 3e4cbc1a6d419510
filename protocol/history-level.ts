/** How much is kept of requests: nothing, what ran and how it ended, or also what went in and came out. */
export const HISTORY_LEVELS = ['off', 'meta', 'output'] as const;

/** One of `HISTORY_LEVELS`. */
export type HistoryLevel = (typeof HISTORY_LEVELS)[number];
