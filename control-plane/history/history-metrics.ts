import { Gauge, Histogram, type Registry } from 'prom-client';

/** Measurements of reading the history. */
export class HistoryMetrics {
  readonly #followers: Gauge;
  readonly #lag: Histogram;
  readonly #statistics: Histogram;

  constructor(registry: Registry) {
    this.#followers = new Gauge({
      name: 'triggerfs_history_followers',
      help: 'Answers with output that are open at this control-plane.',
      registers: [registry],
    });
    this.#lag = new Histogram({
      name: 'triggerfs_history_follow_lag_seconds',
      help: 'Age of followed output when this control-plane sees it.',
      buckets: [0.1, 0.25, 0.5, 0.75, 1, 2, 5, 15, 60],
      registers: [registry],
    });
    this.#statistics = new Histogram({
      name: 'triggerfs_history_statistics_seconds',
      help: 'Time that adding up one hour of the history took.',
      buckets: [0.01, 0.05, 0.1, 0.5, 1, 5, 15, 60],
      registers: [registry],
    });
  }

  /** So many answers are open. */
  followers(count: number): void {
    this.#followers.set(count);
  }

  /** Output of that time was seen now. */
  seen(at: Date): void {
    this.#lag.observe(Math.max(0, Date.now() - at.getTime()) / 1000);
  }

  /** An hour was added up. */
  addedUp(ms: number): void {
    this.#statistics.observe(ms / 1000);
  }
}
