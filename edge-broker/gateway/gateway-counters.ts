/** Why a webhook was not believed. Its sender is told less. */
export const DISBELIEF = ['unknown', 'missing', 'wrong', 'stale'] as const;
export type Disbelief = (typeof DISBELIEF)[number];

/** What became of webhooks that were taken. */
export const TAKEN = ['kept', 'repeated', 'ran', 'greeted'] as const;
export type Taken = (typeof TAKEN)[number];

/** Limits that callers without a token run into. */
export const RATES = ['address', 'service'] as const;
export type Rate = (typeof RATES)[number];

/** What the gateway counts since its start. Keys that may occur are there from the beginning, so that rates can be computed. */
export class GatewayCounters {
  readonly #taken = zeros(TAKEN);
  readonly #refused: Record<string, number> = zeros(DISBELIEF);
  readonly #limited = zeros(RATES);
  readonly #answers: Record<string, number> = {};

  /** Webhooks that were taken, by what became of them. */
  get taken(): Readonly<Record<string, number>> {
    return this.#taken;
  }

  /** Webhooks that were refused, by the reason: a disbelief, or the code of an error. */
  get refused(): Readonly<Record<string, number>> {
    return this.#refused;
  }

  /** Requests that came too soon, by the limit. */
  get limited(): Readonly<Record<string, number>> {
    return this.#limited;
  }

  /** Answers by their status. */
  get answers(): Readonly<Record<string, number>> {
    return this.#answers;
  }

  /** A webhook was taken. */
  hookTaken(how: Taken): void {
    this.#taken[how] += 1;
  }

  /** A webhook was refused. */
  hookRefused(reason: string): void {
    this.#refused[reason] = (this.#refused[reason] ?? 0) + 1;
  }

  /** A request came too soon. */
  rateLimited(rate: Rate): void {
    this.#limited[rate] += 1;
  }

  /** An answer was sent. */
  answered(status: number): void {
    this.#answers[status] = (this.#answers[status] ?? 0) + 1;
  }
}

function zeros<K extends string>(keys: readonly K[]): Record<K, number> {
  return Object.fromEntries(keys.map((key) => [key, 0])) as Record<K, number>;
}
