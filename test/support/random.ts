/** Repeatable random numbers for property and fuzz tests: each call gives a whole number from 0 to `limit` - 1. */
export function randomNumbers(seed: number): (limit: number) => number {
  let state = seed >>> 0;
  return (limit) => {
    // A 32-bit linear step, then a mix, so that the low bits are usable too.
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    let mixed = state ^ (state >>> 15);
    mixed = Math.imul(mixed, 0x2c1b3c6d) >>> 0;
    mixed = (mixed ^ (mixed >>> 12)) >>> 0;
    return limit <= 0 ? 0 : mixed % limit;
  };
}
