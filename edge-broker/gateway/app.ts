import Fastify, { type FastifyBaseLogger, type FastifyInstance } from 'fastify';
import type { Logger } from '../../runtime/logging.ts';
import type { Bearers } from './bearers.ts';
import { registerGuard } from './guard.ts';
import { type HealthParts, registerHealth } from './health-routes.ts';
import { BODY_BYTES, type InvokeParts, registerInvoke } from './invoke-route.ts';
import { refuseConnection, registerProblems } from './problems.ts';

const MAX_CONNECTIONS = 8192;

/** Everything the gateway's routes need. */
export interface AppParts extends InvokeParts, HealthParts {
  readonly bearers: Bearers;
  readonly refresh: () => Promise<boolean>;
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
    http: { maxHeaderSize: 16 * 1024, headersTimeout: 15_000, keepAlive: true, keepAliveInitialDelay: 30_000 },
    routerOptions: { maxParamLength: 256 },
    clientErrorHandler: (error, socket) => refuseConnection(error as NodeJS.ErrnoException, socket),
    frameworkErrors: (error, request, reply) => void app.errorHandler.call(app, error, request, reply),
  });
  app.server.maxConnections = MAX_CONNECTIONS;
  app.removeAllContentTypeParsers();
  // The form of a request decides what its body is, so every body comes as it is.
  app.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body));
  registerProblems(app);
  registerGuard(app, parts.bearers, parts.refresh);
  registerInvoke(app, parts);
  registerHealth(app, parts);
  return app;
}
