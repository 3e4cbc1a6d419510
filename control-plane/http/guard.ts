import type { FastifyInstance, FastifyRequest } from 'fastify';
import { TriggerFsError } from '../../protocol/errors.ts';
import type { Authenticator } from '../auth/authenticator.ts';
import type { Principal } from '../auth/principal.ts';
import { assertAdmitted, isPolicy, type PolicyName } from './policy.ts';
import { assertSane } from './sanity.ts';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Who may call the route. */
    policy?: PolicyName;
  }
  interface FastifyRequest {
    principal: Principal | null;
  }
}

/** A registered route, for documents and tests. */
export interface RouteInfo {
  readonly method: string;
  readonly url: string;
  readonly policy: PolicyName;
}

/**
 * Deny by default: refuses to register a route that declares no policy, and lets a request pass only after its caller
 * is known and admitted, before its body is read. Returns the routes, which grow as they are registered.
 */
export function registerGuard(app: FastifyInstance, authenticator: Authenticator): readonly RouteInfo[] {
  const routes: RouteInfo[] = [];
  app.decorateRequest('principal', null);
  app.addHook('onRoute', (route) => {
    const policy = route.config?.policy;
    if (!isPolicy(policy)) throw new Error(`the route ${route.method} ${route.url} declares no policy`);
    for (const method of [route.method].flat()) routes.push({ method, url: route.url, policy });
    // For the OpenAPI document.
    if (route.schema !== undefined && policy !== 'public') Object.assign(route.schema, { security: [{ bearer: [] }] });
  });
  app.addHook('onRequest', async (request) => {
    if (request.is404) return;
    const { policy } = request.routeOptions.config;
    if (policy === 'public') return;
    if (policy === undefined) throw new TriggerFsError('TFS_FORBIDDEN', 'the route has no policy');
    request.principal = await authenticator.authenticate(request);
    assertAdmitted(policy, request.principal);
  });
  app.addHook('preValidation', async (request) => {
    assertSane([request.params, request.query, request.body]);
  });
  return routes;
}

/** Who makes the request; only in routes that are not public. */
export function principalOf(request: FastifyRequest): Principal {
  if (request.principal === null) throw new TriggerFsError('TFS_UNAUTHENTICATED', 'the request has no bearer token');
  return request.principal;
}
