import type { FastifyInstance, FastifyRequest } from 'fastify';
import { TriggerFsError } from '../../protocol/errors.ts';
import type { Bearer, Bearers } from './bearers.ts';

/** Who may call a route: everyone, or users and API tokens (what they may invoke, the broker decides). */
export type GatewayPolicy = 'public' | 'invoke';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Who may call the route of the gateway. */
    gatewayPolicy?: GatewayPolicy;
  }
  interface FastifyRequest {
    bearer: Bearer | null;
  }
}

const REFRESH_MS = 500;

/**
 * Deny by default: refuses to register a route that declares no policy, and knows the caller before a body is read.
 * `refresh` reads the configuration again and says whether it did: a token may be younger than what this broker knows.
 */
export function registerGuard(app: FastifyInstance, bearers: Bearers, refresh: () => Promise<boolean>): void {
  app.decorateRequest('bearer', null);
  app.addHook('onRoute', (route) => {
    const policy = route.config?.gatewayPolicy;
    if (policy !== 'public' && policy !== 'invoke') throw new Error(`the route ${route.method} ${route.url} declares no policy`);
  });
  app.addHook('onRequest', async (request) => {
    if (request.is404 || request.routeOptions.config.gatewayPolicy === 'public') return;
    request.bearer = await authenticate(request, bearers, refresh);
    if (request.bearer.principal.kind === 'worker') throw new TriggerFsError('TFS_FORBIDDEN', 'a worker may not call services');
  });
}

/** Who makes the request; only in routes that are not public. */
export function bearerOf(request: FastifyRequest): Bearer {
  if (request.bearer === null) throw new TriggerFsError('TFS_UNAUTHENTICATED', 'the request has no bearer token');
  return request.bearer;
}

async function authenticate(request: FastifyRequest, bearers: Bearers, refresh: () => Promise<boolean>): Promise<Bearer> {
  const { authorization } = request.headers;
  try {
    return bearers.authenticate(authorization);
  } catch (error) {
    const late = authorization !== undefined && error instanceof TriggerFsError && error.code === 'TFS_UNAUTHENTICATED';
    if (!late || !(await within(REFRESH_MS, refresh()))) throw error;
  }
  return bearers.authenticate(authorization);
}

async function within(limitMs: number, refreshed: Promise<boolean>): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<false>((resolve) => {
    timer = setTimeout(() => resolve(false), limitMs);
  });
  try {
    return await Promise.race([refreshed, limit]);
  } finally {
    clearTimeout(timer);
  }
}
