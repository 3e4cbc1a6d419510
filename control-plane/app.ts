import fastifyJwt, { type TokenOrHeader } from '@fastify/jwt';
import fastifyRateLimit from '@fastify/rate-limit';
import fastifySwagger from '@fastify/swagger';
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import Fastify, { type FastifyBaseLogger, type FastifyRequest } from 'fastify';
import { TriggerFsError } from '../protocol/errors.ts';
import { networkOf } from '../runtime/network.ts';
import { verification } from '../runtime/tokens.ts';
import { VERSION } from '../runtime/version.ts';
import { Authenticator } from './auth/authenticator.ts';
import { registerAuth } from './auth/routes.ts';
import { registerSessions } from './auth/session-routes.ts';
import { registerBrokers } from './brokers/routes.ts';
import { registerConfiguration } from './configuration/routes.ts';
import type { App, Services } from './context.ts';
import { registerDirectories } from './directories/routes.ts';
import { registerHealth } from './health/routes.ts';
import { registerHistory } from './history/routes.ts';
import { type RouteInfo, registerGuard } from './http/guard.ts';
import { registerProblems } from './http/problems.ts';
import { registerInvites } from './invites/routes.ts';
import type { KeyRing } from './keys/key-ring.ts';
import { registerMailbox } from './mailbox/routes.ts';
import { registerMaintenance } from './maintenance/routes.ts';
import { registerPeople } from './people/routes.ts';
import { registerPlans } from './plans/routes.ts';
import { registerQueue } from './queue/routes.ts';
import { registerRedactions } from './redactions/routes.ts';
import { registerSchedules } from './schedules/routes.ts';
import { registerServices } from './services/routes.ts';
import { registerTeams } from './teams/routes.ts';
import { registerTokens } from './tokens/routes.ts';
import { registerTree } from './tree/routes.ts';
import { registerTriggers } from './triggers/routes.ts';
import { registerUsers } from './users/routes.ts';
import { registerWorkers } from './workers/routes.ts';

const BODY_BYTES = 1024 * 1024;

/**
 * Builds the API: problem documents, rate limit, guard, OpenAPI and all routes, in the order in which a request meets them.
 * @throws Error when a route declares no policy
 */
export async function buildApp(services: Services): Promise<{ app: App; routes: readonly RouteInfo[] }> {
  const app: App = Fastify({
    loggerInstance: services.log.child({}, { level: services.log.level === 'debug' ? 'debug' : 'warn' }) as FastifyBaseLogger,
    bodyLimit: BODY_BYTES,
    connectionTimeout: 15_000,
    requestTimeout: 10_000,
    handlerTimeout: 20_000,
    keepAliveTimeout: 72_000,
    maxRequestsPerSocket: 0,
    forceCloseConnections: 'idle',
    trustProxy: services.proxies || false,
    routerOptions: { maxParamLength: 4096 },
    ajv: { customOptions: { removeAdditional: false, coerceTypes: false, useDefaults: false, allErrors: false } },
    onProtoPoisoning: 'error',
    onConstructorPoisoning: 'error',
    frameworkErrors: (error, request, reply) => void app.errorHandler.call(app, error, request, reply),
  }).withTypeProvider<TypeBoxTypeProvider>();
  app.removeContentTypeParser('text/plain');
  registerProblems(app);
  services.metrics?.observe(app);
  await app.register(fastifyRateLimit, {
    max: services.requestsPerSecond * 60,
    timeWindow: 60_000,
    cache: 20_000,
    keyGenerator: ({ ip }) => networkOf(ip),
  });
  await app.register(fastifyJwt, {
    secret: { public: (_request: FastifyRequest, token: TokenOrHeader) => publicKey(services.keys, token) },
    decode: { complete: true },
    verify: verification('triggerfs-api'),
  });
  await app.register(fastifySwagger, {
    openapi: {
      openapi: '3.1.0',
      info: { title: 'triggerFS control-plane', version: VERSION },
      components: { securitySchemes: { bearer: { type: 'http', scheme: 'bearer' } } },
    },
  });
  const routes = registerGuard(app, new Authenticator(services.database));
  registerRoutes(app, services);
  await app.ready();
  return { app, routes };
}

function registerRoutes(app: App, services: Services): void {
  registerHealth(app, services);
  registerAuth(app, services);
  registerSessions(app, services);
  registerPeople(app, services);
  registerTeams(app, services);
  registerUsers(app, services);
  registerInvites(app, services);
  registerMailbox(app, services);
  registerMaintenance(app, services);
  registerWorkers(app, services);
  registerServices(app, services);
  registerDirectories(app, services);
  registerTriggers(app, services);
  registerTree(app, services);
  registerSchedules(app, services);
  registerTokens(app, services);
  registerBrokers(app, services);
  registerConfiguration(app, services);
  registerHistory(app, services);
  registerPlans(app, services);
  registerQueue(app, services);
  registerRedactions(app, services);
  app.get('/openapi.json', { config: { policy: 'public' }, schema: { hide: true } }, async () => app.swagger());
}

async function publicKey(keys: KeyRing, token: TokenOrHeader): Promise<string> {
  const { kid } = 'header' in token ? token.header : token;
  const key = kid === undefined ? null : await keys.publicKey(kid);
  if (key === null) throw new TriggerFsError('TFS_UNAUTHENTICATED', 'the token is signed with an unknown key');
  return key;
}
