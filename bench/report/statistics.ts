/** What repeated measurements of one thing amount to. */
export interface Figure {
  /** Median of the rounds. */
  readonly median: number;
  /** Half the range over the median: 0.1 means that the rounds lay within about 10 % of it. The noise of the machine. */
  readonly spread: number;
  readonly rounds: readonly number[];
}

/** The middle value; the mean of the two middle ones for an even count. @throws RangeError for no values */
export function median(values: readonly number[]): number {
  if (values.length === 0) throw new RangeError('the median of nothing');
  const sorted = [...values].sort((a, b) => a - b);
  const upper = sorted[Math.floor(sorted.length / 2)] as number;
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[sorted.length / 2 - 1] as number)) / 2;
}

/** The value below which a share `q` (0 to 1) of sorted values lies: nearest rank. @throws RangeError for no values */
export function quantile(sorted: ArrayLike<number>, q: number): number {
  if (sorted.length === 0) throw new RangeError('a quantile of nothing');
  const rank = Math.ceil(q * sorted.length) - 1;
  return sorted[Math.min(Math.max(rank, 0), sorted.length - 1)] as number;
}

/** Sums up the rounds of one measurement. */
export function figure(rounds: readonly number[]): Figure {
  const middle = median(rounds);
  const range = Math.max(...rounds) - Math.min(...rounds);
  return { median: middle, spread: middle === 0 ? 0 : range / 2 / Math.abs(middle), rounds };
}

/** Ratio of two contenders measured in the same rounds: the median of the ratios, so that a slow minute counts for both. */
export function pairedRatio(ours: readonly number[], theirs: readonly number[]): number {
  return median(ours.map((value, round) => value / (theirs[round] as number)));
}
