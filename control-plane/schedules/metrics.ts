import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import type { FiredSlot } from './firing.ts';

/** Measurements of the schedules that this control-plane fires. */
export class ScheduleMetrics {
  readonly #fires: Counter<'outcome'>;
  readonly #lateness: Histogram;
  readonly #backlog: Gauge;

  constructor(registry: Registry) {
    const registers = [registry];
    this.#fires = new Counter({
      name: 'triggerfs_schedule_fires_total',
      help: 'Slots by their outcome.',
      labelNames: ['outcome'],
      registers,
    });
    this.#lateness = new Histogram({
      name: 'triggerfs_schedule_lateness_seconds',
      help: 'From the moment when slots that ran were due until they were handed to the queue.',
      buckets: [0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1, 2, 5, 30, 300],
      registers,
    });
    this.#backlog = new Gauge({
      name: 'triggerfs_schedules_overdue',
      help: 'Schedules that should have fired two seconds ago and have not, seen by this control-plane.',
      registers,
    });
  }

  /** Counts a slot; of those that ran, the lateness. */
  observe({ outcome, latenessMs }: FiredSlot): void {
    this.#fires.inc({ outcome });
    if (outcome === 'fired' || outcome === 'late') this.#lateness.observe(latenessMs / 1000);
  }

  /** Sets how many schedules are overdue. */
  overdue(schedules: number): void {
    this.#backlog.set(schedules);
  }
}
