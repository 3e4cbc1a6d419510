import Fastify, { type FastifyBaseLogger, type FastifyInstance } from 'fastify';
import type { Logger } from '../../runtime/logging.ts';
import { BODY_BYTES } from './body-room.ts';
import { registerCors } from './cors.ts';
import type { GatewayCounters } from './gateway-counters.ts';
import { type GuardParts, registerGuard } from './guard.ts';
import { type HealthParts, registerHealth } from './health-routes.ts';
import { type InvokeParts, registerInvoke } from './invoke-route.ts';
import { type KeptParts, registerKept } from './kept/kept-routes.ts';
import { HEADER_BYTES, refuseConnection, registerProblems } from './problems.ts';
import { RateLimitedError } from './rate-limits.ts';
import { type HookParts, registerHooks } from './webhooks/hook-route.ts';

const MAX_CONNECTIONS = 8192;

/** Everything the gateway's routes need. */
export interface AppParts extends GuardParts, InvokeParts, HookParts, KeptParts, HealthParts {
  readonly counters: GatewayCounters;
  /** Addresses of reverse proxies with commas between, whose word about clients is believed; empty: nobody's. */
  readonly proxies: string;
  readonly log: Logger;
}

/** Builds the HTTP side: limits, problem documents, guard, routes. @throws Error when a route declares no policy */
export function buildApp(parts: AppParts): FastifyInstance {
  const { log } = parts;
  const app: FastifyInstance = Fastify({
    loggerInstance: log.child({}, { level: log.level === 'debug' ? 'debug' : 'warn' }) as FastifyBaseLogger,
    bodyLimit: BODY_BYTES,
    connectionTimeout: 30_000,
    requestTimeout: 60_000,
    keepAliveTimeout: 72_000,
    forceCloseConnections: 'idle',
    http: { maxHeaderSize: HEADER_BYTES, headersTimeout: 15_000, keepAlive: true, keepAliveInitialDelay: 30_000 },
    trustProxy: parts.proxies || false,
    routerOptions: { maxParamLength: 256 },
    clientErrorHandler: (error, socket) => refuseConnection(error as NodeJS.ErrnoException, socket),
    frameworkErrors: (error, request, reply) => void app.errorHandler.call(app, error, request, reply),
  });
  app.server.maxConnections = MAX_CONNECTIONS;
  app.removeAllContentTypeParsers();
  // The form of a request decides what its body is, so every body comes as it is.
  app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body));
  registerProblems(app);
  app.addHook('onResponse', async (_request, reply) => parts.counters.answered(reply.statusCode));
  app.addHook('onError', async (_request, _reply, error) => {
    if (error instanceof RateLimitedError) parts.counters.rateLimited(error.limit);
  });
  registerCors(app, ({ team, service }) => parts.exposure.find(team, service)?.http ?? null);
  registerGuard(app, parts);
  registerInvoke(app, parts);
  registerHooks(app, parts);
  registerKept(app, parts);
  registerHealth(app, parts);
  return app;
}
