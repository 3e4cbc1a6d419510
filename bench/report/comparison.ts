import { type Figure, figure, pairedRatio } from './statistics.ts';

/** How a figure is shown. */
export type Unit = 'per second' | 'microseconds' | 'milliseconds' | 'mebibytes' | 'percent' | 'count';

/** What a ratio, or our figure itself, is promised to be. */
export interface Promised {
  readonly direction: 'at least' | 'at most';
  readonly limit: number;
  /** The limit counts for `ratio` (ours over the peer's) or for our own `figure`. */
  readonly of: 'ratio' | 'figure';
}

/** One line of the table: ours beside a peer or baseline of the same run. */
export interface Comparison {
  readonly what: string;
  readonly unit: Unit;
  readonly ours: Figure;
  /** Name of the peer or baseline; null when only our own figure counts. */
  readonly peer: string | null;
  readonly theirs: Figure | null;
  readonly ratio: number | null;
  readonly promised: Promised | null;
  /** Null when nothing is promised. */
  readonly held: boolean | null;
}

/** A peer that could not be measured. */
export interface Skipped {
  readonly what: string;
  readonly reason: string;
}

/** What one benchmark found. */
export interface BenchReport {
  readonly comparisons: readonly Comparison[];
  readonly skipped: readonly Skipped[];
  /** What else was seen, a sentence each. */
  readonly notes: readonly string[];
}

/** Rounds of one side. */
export interface Side {
  readonly name: string;
  readonly rounds: readonly number[];
}

/** Sets our rounds beside a peer's. */
export function compare(what: string, unit: Unit, ours: readonly number[], peer: Side | null, promised: Promised | null): Comparison {
  const own = figure(ours);
  const ratio = peer === null ? null : pairedRatio(ours, peer.rounds);
  return {
    what,
    unit,
    ours: own,
    peer: peer?.name ?? null,
    theirs: peer === null ? null : figure(peer.rounds),
    ratio,
    promised,
    held: promised === null ? null : isHeld(promised, own.median, ratio),
  };
}

function isHeld(promised: Promised, own: number, ratio: number | null): boolean | null {
  const value = promised.of === 'ratio' ? ratio : own;
  if (value === null) return null;
  return promised.direction === 'at least' ? value >= promised.limit : value <= promised.limit;
}
