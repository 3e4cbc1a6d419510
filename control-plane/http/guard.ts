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

/**
 * Deny by default: refuses to register a route that declares no policy, and lets a request pass only after its caller
 * is known and admitted, before its body is read.
 */
export function registerGuard(app: FastifyInstance, authenticator: Authenticator): void {
  app.decorateRequest('principal', null);
  app.addHook('onRoute', (route) => {
    if (!isPolicy(route.config?.policy)) throw new Error(`the route ${route.method} ${route.url} declares no policy`);
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
}

/** Who makes the request; only in routes that are not public. */
export function principalOf(request: FastifyRequest): Principal {
  if (request.principal === null) throw new TriggerFsError('TFS_UNAUTHENTICATED', 'the request has no bearer token');
  return request.principal;
}
