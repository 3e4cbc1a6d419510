/**
 * Messages that come while others are on their way are gathered for this long: sending many costs hardly more than one.
 * A shorter timer would cost the writers 10 %: the kernel's clock is set anew at every turn.
 */
const GATHER_MS = 10;
/**
 * A burst: more writes per millisecond than this. It is taken into the spool first and sent in larger steps, so that
 * sending does not take the processor away from the writer; but never so that messages fall back further than this.
 */
const BURST_PER_MS = 8;
const BURST_GATHER_MS = 50;
const BURST_AGE_MS = 5_000;

/** How eagerly the messages of one trigger are sent, by how fast they come. */
export class Pacing {
  #burst = false;
  #written = 0;
  #since = performance.now();

  /** A first message goes at once; in a burst even that waits. */
  get eager(): boolean {
    return !this.#burst;
  }

  /** A burst is being taken in. */
  get burst(): boolean {
    return this.#burst;
  }

  /** Milliseconds until the next step. */
  get gatherMs(): number {
    return this.#burst ? BURST_GATHER_MS : GATHER_MS;
  }

  /** Something was written. */
  written(): void {
    this.#written += 1;
  }

  /** A step begins. `oldestAt`: when the oldest unsent message was accepted, roughly; milliseconds since 1970. */
  step(oldestAt: number): void {
    const now = performance.now();
    const fast = this.#written > (now - this.#since) * BURST_PER_MS;
    this.#burst = fast && Date.now() - oldestAt < BURST_AGE_MS;
    this.#written = 0;
    this.#since = now;
  }
}
