/** Something that is measured beside others; `measure` gives one round's value or values. */
export interface Contender<T> {
  readonly name: string;
  readonly measure: () => Promise<T>;
}

/**
 * Measures contenders in turn, round after round, in alternating order (A B, B A, A B), so that slow minutes
 * of the machine and the order meet all alike. One more round before them is not counted: it warms everything up.
 */
export async function interleave<T>(
  contenders: readonly Contender<T>[],
  rounds: number,
  progress: (text: string) => void,
): Promise<Map<string, T[]>> {
  const measured = new Map<string, T[]>(contenders.map(({ name }) => [name, []]));
  for (let round = 0; round <= rounds; round += 1) {
    const order = round % 2 === 1 ? contenders : [...contenders].reverse();
    for (const { name, measure } of order) {
      progress(round === 0 ? `${name}, warm-up` : `${name}, round ${round} of ${rounds}`);
      const value = await measure();
      if (round > 0) (measured.get(name) as T[]).push(value);
    }
  }
  return measured;
}
