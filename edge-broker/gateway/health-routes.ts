import type { FastifyInstance } from 'fastify';
import { VERSION } from '../../runtime/version.ts';
import type { BrokerMetrics } from '../metrics.ts';
import type { DatabaseProbe } from './database-probe.ts';
import { OPENAPI } from './openapi.ts';

/** What the routes report on. */
export interface HealthParts {
  readonly brokerId: string;
  readonly database: DatabaseProbe;
  /** Null: not served. */
  readonly metrics: BrokerMetrics | null;
  readonly draining: () => boolean;
}

const LIMIT_MS = 5_000;

/** `GET /healthz`, `/metrics` and `/openapi.json`: for load balancers, Prometheus and people. */
export function registerHealth(app: FastifyInstance, { brokerId, database, metrics, draining }: HealthParts): void {
  const options = { config: { gatewayPolicy: 'public' as const }, handlerTimeout: LIMIT_MS };
  // A broker without its database routes what it knows, so it stays healthy; one that shuts down wants no new requests.
  app.get('/healthz', options, async (_request, reply) => {
    const status = draining() ? 'draining' : 'ok';
    const reachable = await database.reachable();
    reply.code(status === 'ok' ? 200 : 503).header('cache-control', 'no-store');
    return { status, database: reachable ? 'reachable' : 'unreachable', broker: brokerId, version: VERSION };
  });
  app.get('/openapi.json', options, async () => OPENAPI);
  if (metrics === null) return;
  app.get('/metrics', options, async (_request, reply) => reply.type(metrics.contentType).send(await metrics.text()));
}
