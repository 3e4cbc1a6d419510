import type { FastifyInstance } from 'fastify';
import type { Pool } from 'pg';
import { collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';

/** Measurements of one control-plane, in a registry of its own. */
export class Metrics {
  /** Where parts of the control-plane add theirs. */
  readonly registry = new Registry();
  readonly #requests: Histogram<'method' | 'route' | 'status'>;

  constructor(pool: Pool) {
    collectDefaultMetrics({ register: this.registry });
    this.#requests = new Histogram({
      name: 'triggerfs_api_request_seconds',
      help: 'Duration of API requests.',
      labelNames: ['method', 'route', 'status'],
      buckets: [0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10],
      registers: [this.registry],
    });
    new Gauge({
      name: 'triggerfs_database_connections',
      help: 'Connections of the pool, by state.',
      labelNames: ['state'],
      registers: [this.registry],
      collect(): void {
        this.set({ state: 'idle' }, pool.idleCount);
        this.set({ state: 'busy' }, pool.totalCount - pool.idleCount);
        this.set({ state: 'waiting' }, pool.waitingCount);
      },
    });
  }

  /** Measures every request by its route pattern, never by its address. */
  observe(app: FastifyInstance): void {
    app.addHook('onResponse', async (request, reply) => {
      const labels = { method: request.method, route: request.routeOptions.url ?? 'none', status: String(reply.statusCode) };
      this.#requests.observe(labels, reply.elapsedTime / 1000);
    });
  }

  get contentType(): string {
    return this.registry.contentType;
  }

  /** All measurements in Prometheus' text format. */
  text(): Promise<string> {
    return this.registry.metrics();
  }
}
