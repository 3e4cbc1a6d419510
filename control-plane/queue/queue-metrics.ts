import { Counter, Gauge, Histogram, type Registry } from 'prom-client';

/** Measurements of the queue. Items and ages are those of all teams; counters are those of this process. */
export class QueueMetrics {
  readonly items: Gauge<'state'>;
  readonly oldest: Gauge;
  readonly accepted: Counter;
  readonly settled: Counter<'state'>;
  readonly retries: Counter<'reason'>;
  readonly late: Counter;
  readonly lag: Histogram;

  /** Without a registry they are counted and not shown. */
  constructor(registry: Registry | null) {
    const registers = registry === null ? [] : [registry];
    this.items = new Gauge({ name: 'triggerfs_queue_items', help: 'Queued invocations by state.', labelNames: ['state'], registers });
    this.oldest = new Gauge({
      name: 'triggerfs_queue_oldest_seconds',
      help: 'How long the oldest item that is due has waited.',
      registers,
    });
    this.accepted = new Counter({ name: 'triggerfs_queue_accepted_total', help: 'Invocations accepted for later by this API.', registers });
    this.settled = new Counter({
      name: 'triggerfs_queue_settled_total',
      help: 'Items that came to their end, by state.',
      labelNames: ['state'],
      registers,
    });
    this.retries = new Counter({
      name: 'triggerfs_queue_retries_total',
      help: 'Attempts that are followed by another: a retry that was asked for, or a wait for a worker.',
      labelNames: ['reason'],
      registers,
    });
    this.late = new Counter({
      name: 'triggerfs_queue_late_total',
      help: 'Attempts that ended after a later one had taken over.',
      registers,
    });
    this.lag = new Histogram({
      name: 'triggerfs_queue_lag_seconds',
      help: 'Time between when an attempt was due and when it was sent.',
      buckets: [0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 5, 30, 300],
      registers,
    });
  }
}
