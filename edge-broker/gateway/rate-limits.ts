import { TriggerFsError } from '../../protocol/errors.ts';
import { networkOf } from '../../runtime/network.ts';
import type { ServiceConfig } from '../directory/team.ts';
import type { Rate as RateLimit } from './gateway-counters.ts';

/** Buckets of each generation. Those that nobody asked for during a whole generation are forgotten. */
const MAX_BUCKETS = 50_000;
const UNIT_MS: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 };

interface Bucket {
  tokens: number;
  at: number;
}

interface Rate {
  readonly burst: number;
  /** Tokens a millisecond. */
  readonly refill: number;
}

/** A request came too soon. */
export class RateLimitedError extends TriggerFsError {
  /** Whole seconds until the next one may come. */
  readonly retryAfter: number;
  readonly limit: RateLimit;

  constructor(message: string, retryAfter: number, limit: RateLimit) {
    super('TFS_RATE_LIMITED', message);
    this.retryAfter = retryAfter;
    this.limit = limit;
  }
}

/**
 * Token buckets of callers without a token: one for each service and client network, and one for each service. They are this
 * broker's own, so a fleet of N brokers admits up to N times as much.
 */
export class RateLimits {
  #buckets = new Map<string, Bucket>();
  #older = new Map<string, Bucket>();
  readonly #now: () => number;

  /** `now`: milliseconds of a clock that never goes back. */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  /** Buckets that are remembered. */
  get size(): number {
    return this.#buckets.size + this.#older.size;
  }

  /** Takes one request of a client address. @throws RateLimitedError */
  take({ key, name, http }: ServiceConfig, address: string): void {
    const network = networkOf(address);
    const wait = this.#take(`${key} ${network}`, parseRate(http.rate));
    if (wait > 0) throw new RateLimitedError(`${network} may call service ${name} ${http.rate} without a token`, seconds(wait), 'address');
    const total = this.#take(key, parseRate(http.rateTotal));
    if (total > 0) throw new RateLimitedError(`service ${name} takes ${http.rateTotal} without a token`, seconds(total), 'service');
  }

  /** Takes a token, or tells how many milliseconds it takes until there is one. */
  #take(key: string, { burst, refill }: Rate): number {
    const now = this.#now();
    const bucket = this.#bucket(key) ?? { tokens: burst, at: now };
    bucket.tokens = Math.min(burst, bucket.tokens + (now - bucket.at) * refill);
    bucket.at = now;
    this.#buckets.set(key, bucket);
    if (bucket.tokens < 1) return (1 - bucket.tokens) / refill;
    bucket.tokens -= 1;
    return 0;
  }

  #bucket(key: string): Bucket | undefined {
    if (this.#buckets.size >= MAX_BUCKETS) [this.#older, this.#buckets] = [this.#buckets, new Map()];
    return this.#buckets.get(key) ?? this.#older.get(key);
  }
}

function parseRate(text: string): Rate {
  const [count = '1', unit = 's'] = text.split('/');
  const burst = Number(count);
  return { burst, refill: burst / (UNIT_MS[unit] ?? 1_000) };
}

function seconds(ms: number): number {
  return Math.max(1, Math.ceil(ms / 1000));
}
