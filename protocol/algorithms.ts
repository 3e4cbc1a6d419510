/** How a service spreads an invocation over its workers. `direct` is a worker identity used as a service. */
export const ALGORITHMS = ['roundrobin', 'serial', 'mirror', 'direct'] as const;

/** Name of a dispatch algorithm. */
export type Algorithm = (typeof ALGORITHMS)[number];

/** Number of an algorithm in a MANIFEST record. */
export function algorithmNumber(algorithm: Algorithm): number {
  return ALGORITHMS.indexOf(algorithm);
}

/** Name of an algorithm number; unknown numbers read as `direct`. */
export function algorithmName(number: number): Algorithm {
  return ALGORITHMS[number] ?? 'direct';
}
